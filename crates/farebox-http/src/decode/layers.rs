//! The formats, each behind the same push: pure decoders that hold nothing but their window.

use std::io::{self, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{Encoding, Sink};

/// How much is unpacked between two looks at the room that is left, in bytes.
const STEP: usize = 16 * 1024;
/// The largest window of a zstd message, as a power of two: RFC 9659 allows 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// One format.
pub(super) trait Layer: Send {
    /// Writes all that can be read after `input`.
    fn push(&mut self, input: &[u8], sink: &mut Sink) -> io::Result<()>;

    /// Whether the message has told its end; asked when nothing more will come.
    fn is_complete(&mut self) -> bool;
}

pub(super) fn of(encoding: Encoding) -> Box<dyn Layer> {
    match encoding {
        Encoding::Gzip => Box::new(Gzip(MultiGzDecoder::new(Sink::default()))),
        Encoding::Deflate => Box::new(Deflate::Unknown(Vec::new())),
        Encoding::Brotli => Box::new(Brotli::new()),
        Encoding::Zstd => Box::new(Zstd::new()),
    }
}

/// Members of a file one after another, each with its checksum.
struct Gzip(MultiGzDecoder<Sink>);

impl Layer for Gzip {
    fn push(&mut self, input: &[u8], sink: &mut Sink) -> io::Result<()> {
        std::mem::swap(self.0.get_mut(), sink);
        // What is read waits in the decoder until it is flushed.
        let written = self.0.write_all(input).and_then(|()| self.0.flush());
        std::mem::swap(self.0.get_mut(), sink);
        written
    }

    fn is_complete(&mut self) -> bool {
        self.0.try_finish().is_ok()
    }
}

/// Both things that are sent under this name; its first two bytes tell which.
enum Deflate {
    Unknown(Vec<u8>),
    Known(Box<Inflate>),
}

struct Inflate {
    state: Decompress,
    has_ended: bool,
    buffer: Box<[u8]>,
}

impl Layer for Deflate {
    fn push(&mut self, input: &[u8], sink: &mut Sink) -> io::Result<()> {
        let Self::Unknown(start) = self else {
            return self.inflate(input, sink);
        };
        start.extend_from_slice(input);
        let &[method, check, ..] = &start[..] else {
            return Ok(());
        };
        let has_frame =
            method & 0x0f == 8 && u16::from_be_bytes([method, check]).is_multiple_of(31);
        let start = std::mem::take(start);
        *self = Self::Known(Box::new(Inflate {
            state: Decompress::new(has_frame),
            has_ended: false,
            buffer: vec![0; STEP].into_boxed_slice(),
        }));
        self.inflate(&start, sink)
    }

    fn is_complete(&mut self) -> bool {
        matches!(self, Self::Known(inflate) if inflate.has_ended)
    }
}

impl Deflate {
    fn inflate(&mut self, input: &[u8], sink: &mut Sink) -> io::Result<()> {
        match self {
            Self::Unknown(_) => Ok(()),
            Self::Known(inflate) => inflate.push(input, sink),
        }
    }
}

impl Inflate {
    fn push(&mut self, mut input: &[u8], sink: &mut Sink) -> io::Result<()> {
        while !self.has_ended {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let step = self
                .state
                .decompress(input, &mut self.buffer, FlushDecompress::None);
            let status = step.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let read = usize::try_from(self.state.total_in() - read).map_err(io::Error::other)?;
            let written =
                usize::try_from(self.state.total_out() - written).map_err(io::Error::other)?;
            input = input.split_at(read).1;
            sink.write_all(&self.buffer[..written])?;
            self.has_ended = status == Status::StreamEnd;
            if read == 0 && written == 0 {
                break;
            }
        }
        Ok(())
    }
}

struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    has_ended: bool,
    buffer: Box<[u8]>,
}

impl Brotli {
    fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self {
            state: Box::new(BrotliState::new(alloc(), alloc(), alloc())),
            has_ended: false,
            buffer: vec![0; STEP].into_boxed_slice(),
        }
    }
}

impl Layer for Brotli {
    fn push(&mut self, input: &[u8], sink: &mut Sink) -> io::Result<()> {
        let (mut left, mut at, mut total) = (input.len(), 0, 0);
        while !self.has_ended {
            let (mut room, mut written) = (self.buffer.len(), 0);
            let step = BrotliDecompressStream(
                &mut left,
                &mut at,
                input,
                &mut room,
                &mut written,
                &mut self.buffer,
                &mut total,
                &mut self.state,
            );
            sink.write_all(&self.buffer[..written])?;
            match step {
                BrotliResult::NeedsMoreInput => break,
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultSuccess => self.has_ended = true,
                BrotliResult::ResultFailure => {
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                }
            }
        }
        Ok(())
    }

    fn is_complete(&mut self) -> bool {
        self.has_ended
    }
}

struct Zstd {
    context: Option<DCtx<'static>>,
    /// Between two frames, of which there may be several.
    has_ended: bool,
    buffer: Box<[u8]>,
}

impl Zstd {
    fn new() -> Self {
        let mut context = DCtx::try_create();
        let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG);
        let is_limited = context
            .as_mut()
            .is_some_and(|context| context.set_parameter(window).is_ok());
        Self {
            context: context.filter(|_| is_limited),
            has_ended: false,
            buffer: vec![0; STEP].into_boxed_slice(),
        }
    }
}

impl Layer for Zstd {
    fn push(&mut self, input: &[u8], sink: &mut Sink) -> io::Result<()> {
        let Some(context) = &mut self.context else {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        };
        let mut input = InBuffer::around(input);
        loop {
            let at = input.pos();
            let mut out = OutBuffer::around(&mut self.buffer[..]);
            let step = context.decompress_stream(&mut out, &mut input);
            let hint = step.map_err(|code| {
                io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code))
            })?;
            let written = out.pos();
            sink.write_all(&self.buffer[..written])?;
            let moved = written > 0 || input.pos() > at;
            if moved {
                self.has_ended = hint == 0;
            }
            if !moved || (written < STEP && input.pos() == input.src.len()) {
                return Ok(());
            }
        }
    }

    fn is_complete(&mut self) -> bool {
        self.has_ended
    }
}
