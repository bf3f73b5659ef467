//! The QR code of an invoice, as an inline drawing.

use std::fmt::Write as _;

use qrcodegen::{Mask, QrCode, QrCodeEcc, QrSegment, Version};

use super::template::Html;

/// The white border that scanners need, in modules (ISO/IEC 18004 section 5.3.8).
const QUIET_ZONE: i32 = 4;

/// A drawing of `LIGHTNING:<INVOICE>`: in capitals a code holds half as much again. Nothing where
/// no code is large enough.
pub(super) fn svg(invoice: &str) -> Html<'static> {
    let Some(code) = encode(invoice) else {
        return Html::ours("");
    };
    let size = code.size();
    let side = size + 2 * QUIET_ZONE;
    let mut svg = format!(
        "<svg class=\"qr\" role=\"img\" aria-label=\"QR code of the invoice\" \
         viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\""
    );
    for row in 0..size {
        draw_row(&mut svg, row, |column| code.get_module(column, row), size);
    }
    svg.push_str("\"/></svg>");
    Html::built(svg)
}

fn encode(invoice: &str) -> Option<QrCode> {
    let text = format!("LIGHTNING:{}", invoice.to_ascii_uppercase());
    let segments = QrSegment::make_segments(&text);
    // Weighing all eight masks takes twenty times as long, and an invoice is as good as noise: none
    // of them is better for it.
    let mask = Some(Mask::new(0));
    let (least, most) = (Version::MIN, Version::MAX);
    QrCode::encode_segments_advanced(&segments, QrCodeEcc::Low, least, most, mask, true).ok()
}

/// One bar for each run of dark modules.
fn draw_row(svg: &mut String, row: i32, is_dark: impl Fn(i32) -> bool, size: i32) {
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
