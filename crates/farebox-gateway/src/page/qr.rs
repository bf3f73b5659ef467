//! The QR code of an invoice, as an inline drawing.

use std::fmt::Write as _;

use fast_qr::{ECL, QRBuilder};

use super::template::Html;

/// The white border that scanners need, in modules (ISO/IEC 18004 section 5.3.8).
const QUIET_ZONE: usize = 4;

/// A drawing of `LIGHTNING:<INVOICE>`: in capitals a code holds half as much again. Nothing where
/// no code is large enough.
pub(super) fn svg(invoice: &str) -> Html<'static> {
    let text = format!("LIGHTNING:{}", invoice.to_ascii_uppercase());
    let Ok(code) = QRBuilder::new(text).ecl(ECL::L).build() else {
        return Html::ours("");
    };
    let side = code.size + 2 * QUIET_ZONE;
    let mut svg = format!(
        "<svg class=\"qr\" role=\"img\" aria-label=\"QR code of the invoice\" \
         viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\""
    );
    for row in 0..code.size {
        draw_row(&mut svg, row, |column| code[row][column].value(), code.size);
    }
    svg.push_str("\"/></svg>");
    Html::built(svg)
}

/// One bar for each run of dark modules.
fn draw_row(svg: &mut String, row: usize, is_dark: impl Fn(usize) -> bool, size: usize) {
    let mut column = 0;
    while column < size {
        if !is_dark(column) {
            column += 1;
            continue;
        }
        let start = column;
        while column < size && is_dark(column) {
            column += 1;
        }
        let (x, y, width) = (start + QUIET_ZONE, row + QUIET_ZONE, column - start);
        // Writing to a string does not fail.
        let _ = write!(svg, "M{x} {y}h{width}v1h-{width}z");
    }
}
