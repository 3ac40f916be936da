//! Where lines go: plain text, or text above a live part that indicatif draws.
//!
//! Everything that changes the screen at one time leaves in one `write`, so that no terminal shows
//! the moment between erasing and drawing.
//!
//! indicatif pads each line with spaces to the width of the terminal and lets the terminal wrap it.
//! The terminal then treats neighbouring lines as one: they are joined when they are copied, and run
//! into one another when the window is resized (seen with indicatif 0.18.6 in tmux 3.3a).
//! So finished lines are written here, each with a line feed, and the padding of live lines is
//! turned into line feeds.

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
    /// The first failure; nothing is written from then on.
    failure: Option<io::Error>,
    /// Whether a live line was written that the next one must not run into.
    in_line: bool,
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
        if !buffer.is_empty() && stream.failure.is_none() {
            let sent = stream
                .out
                .write_all(&buffer)
                .and_then(|()| stream.out.flush());
            stream.failure = sent.err();
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

    /// Takes a live line or its padding. Live lines are never blank.
    fn write_str(&self, s: &str) -> io::Result<()> {
        if s.bytes().any(|byte| byte != b' ') {
            if std::mem::replace(&mut self.stream().in_line, true) {
                self.push("\n");
            }
            self.push(s);
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.stream().in_line = false;
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
            failure: None,
            in_line: false,
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

    /// Takes the reason why something could not be written.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.canvas.stream().failure.take()
    }

    /// Redraws the live part below what was printed since the last time.
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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::report::expected::Sink;

    /// A terminal of 40 by 10, and a screen that draws on it.
    fn terminal() -> (Sink, Screen) {
        let sink = Sink::default();
        let size = TerminalSize {
            columns: 40,
            rows: 10,
        };
        (
            sink.clone(),
            Screen::new(Box::new(sink), Arc::new(move || size), true),
        )
    }

    /// Returns what a terminal shows, without the empty rows at its end.
    fn shown(sink: &Sink) -> Vec<String> {
        let mut parser = vt100::Parser::new(10, 40, 0);
        // The kernel's terminal driver turns LF into CR LF.
        parser.process(sink.text().replace('\n', "\r\n").as_bytes());
        let screen = parser.screen();
        let mut rows: Vec<String> = screen
            .rows(0, 40)
            .map(|row| row.trim_end().to_owned())
            .collect();
        rows.truncate(
            rows.iter()
                .rposition(|row| !row.is_empty())
                .map_or(0, |at| at + 1),
        );
        rows
    }

    fn lines(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn finished_lines_stand_above_the_live_part_and_the_live_part_grows_and_shrinks() {
        let (sink, mut screen) = terminal();
        screen.draw(&lines(&["a", "b", "all"]));
        assert_eq!(shown(&sink), ["a", "b", "all"]);
        screen.print("done 1\ndone 2\n");
        assert_eq!(
            shown(&sink),
            ["a", "b", "all"],
            "printed at the next drawing"
        );
        screen.draw(&lines(&["c", "all"]));
        assert_eq!(shown(&sink), ["done 1", "done 2", "c", "all"]);
        screen.draw(&lines(&["c", "d", "e", "all"]));
        assert_eq!(shown(&sink), ["done 1", "done 2", "c", "d", "e", "all"]);
        screen.print("done 3\n");
        screen.draw(&lines(&["all"]));
        assert_eq!(shown(&sink), ["done 1", "done 2", "done 3", "all"]);
    }

    #[test]
    fn nothing_of_the_live_part_is_left_in_the_end() {
        let (sink, mut screen) = terminal();
        screen.draw(&lines(&["a", "b", "all"]));
        screen.print("done\n");
        screen.settle();
        screen.print("summary\n");
        assert_eq!(shown(&sink), ["done", "summary"]);
    }

    #[test]
    fn a_terminal_that_scrolls_keeps_its_live_part_at_the_bottom() {
        let (sink, mut screen) = terminal();
        for number in 0..30 {
            screen.print(&format!("done {number}\n"));
            screen.draw(&lines(&["a", "all"]));
        }
        let rows = shown(&sink);
        assert_eq!(rows[7..], ["done 29", "a", "all"]);
        assert_eq!(rows.iter().filter(|row| *row == "all").count(), 1);
    }

    #[test]
    fn lines_end_by_themselves_and_not_at_the_width_of_the_terminal() {
        let (sink, mut screen) = terminal();
        screen.draw(&lines(&["a", "all"]));
        screen.print("a finished line\n");
        screen.draw(&lines(&["a", "all"]));
        let text = sink.text();
        assert!(text.contains("a finished line\na\nall"), "{text:?}");
        assert!(!text.contains("  "), "no padding: {text:?}");
    }

    /// Counts the writes, which a terminal may show one by one.
    struct Counting(Arc<Mutex<usize>>);

    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_drawing_is_one_write() {
        let writes = Arc::new(Mutex::new(0));
        let size = TerminalSize {
            columns: 40,
            rows: 10,
        };
        let out = Box::new(Counting(Arc::clone(&writes)));
        let mut screen = Screen::new(out, Arc::new(move || size), true);
        for _ in 0..5 {
            screen.print("done\n");
            screen.draw(&lines(&["a", "b", "all"]));
        }
        assert_eq!(*writes.lock().unwrap_or_else(PoisonError::into_inner), 5);
    }
}
