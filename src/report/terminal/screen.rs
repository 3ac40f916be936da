//! Where lines go: plain text, or text above a live part that indicatif draws.
//!
//! Everything that changes the screen at one time leaves in one `write`, so that no terminal shows
//! the moment between erasing and drawing. Finished lines are written as they are, with a line
//! feed: `println` of indicatif pads each to the width of the terminal and lets it wrap, which
//! joins neighbouring lines when they are copied or the window is resized.

use crate::edge::terminal::TerminalSize;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use indicatif::TermLike;
use std::fmt;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Tells how large the terminal is now.
pub type SizeOf = Arc<dyn Fn() -> TerminalSize + Send + Sync>;

/// The stream and what is about to be written to it.
struct Stream {
    out: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    /// Set at the first failure; a reader that left gets nothing more.
    is_broken: bool,
}

/// A shared handle on the stream, as indicatif's draw target and as ours.
#[derive(Clone)]
struct Canvas {
    stream: Arc<Mutex<Stream>>,
    size_of: SizeOf,
}

impl fmt::Debug for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canvas")
    }
}

impl Canvas {
    fn stream(&self) -> MutexGuard<'_, Stream> {
        // A panic elsewhere leaves at worst half a frame in the buffer.
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, text: &str) {
        self.stream().buffer.extend_from_slice(text.as_bytes());
    }

    /// Writes what has gathered.
    fn send(&self) {
        let mut stream = self.stream();
        let buffer = std::mem::take(&mut stream.buffer);
        if !buffer.is_empty() && !stream.is_broken {
            let sent = stream
                .out
                .write_all(&buffer)
                .and_then(|()| stream.out.flush());
            stream.is_broken = sent.is_err();
        }
        stream.buffer = buffer;
        stream.buffer.clear();
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        (self.size_of)().columns
    }

    fn height(&self) -> u16 {
        (self.size_of)().rows
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.push(s);
        self.push("\n");
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.push(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\x1b[2K");
        Ok(())
    }

    /// Keeps what has gathered: only [`Canvas::send`] writes.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Canvas {
    #[expect(clippy::unnecessary_wraps, reason = "the trait's methods return it")]
    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        if n > 0 {
            self.push(&format!("\x1b[{n}{direction}"));
        }
        Ok(())
    }
}

/// The place for lines, with or without a live part below them.
pub(super) struct Screen {
    canvas: Canvas,
    bar: Option<ProgressBar>,
    /// Lines that wait for the next drawing.
    above: String,
}

impl Screen {
    /// Takes the stream; `live` says whether it is a terminal to draw on.
    pub(super) fn new(out: Box<dyn Write + Send>, size_of: SizeOf, live: bool) -> Self {
        let stream = Stream {
            out,
            buffer: Vec::new(),
            is_broken: false,
        };
        let canvas = Canvas {
            stream: Arc::new(Mutex::new(stream)),
            size_of,
        };
        let bar = live.then(|| {
            let target = ProgressDrawTarget::term_like(Box::new(canvas.clone()));
            let style = ProgressStyle::with_template("{msg}").expect("the template is constant");
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            bar.set_style(style);
            bar.set_draw_target(target);
            bar
        });
        Self {
            canvas,
            bar,
            above: String::new(),
        }
    }

    /// Says whether there is a live part.
    pub(super) fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    /// Returns the terminal's size.
    pub(super) fn size(&self) -> TerminalSize {
        (self.canvas.size_of)()
    }

    /// Prints text that ends in a line feed; with a live part, at its next drawing.
    pub(super) fn print(&mut self, text: &str) {
        if self.bar.is_some() {
            self.above.push_str(text);
        } else {
            self.canvas.push(text);
            self.canvas.send();
        }
    }

    /// Draws the live part anew, below what was printed since the last time.
    pub(super) fn draw(&mut self, lines: &[String]) {
        if let Some(bar) = &self.bar {
            if !self.above.is_empty() {
                // An empty message erases the live part and leaves the cursor where it began.
                bar.set_message("");
                self.canvas.push(&self.above);
                self.above.clear();
            }
            bar.set_message(lines.join("\n"));
            self.canvas.send();
        }
    }

    /// Takes the live part away for good; from now on text is printed at once.
    pub(super) fn settle(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.canvas.push(&self.above);
            self.above.clear();
            self.canvas.send();
        }
    }
}
