//! How a diagnostic looks: the form of rustc's and cargo's messages.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;

use annotate_snippets::AnnotationKind;
use annotate_snippets::Group;
use annotate_snippets::Level;
use annotate_snippets::Renderer;
use annotate_snippets::Snippet;

/// Renders a diagnostic whole: headline, place, facts and help, ending in a line feed.
pub fn to_text(problem: &Diagnostic, color: bool) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(problem.message.as_str())
        .id(problem.code.name());
    let mut group = Group::with_title(title);
    if let Some(place) = &problem.snippet {
        let label = (!place.label.is_empty()).then_some(place.label.as_str());
        group = group.element(
            Snippet::source(&*place.text)
                .path(place.path.as_str())
                .line_start(place.first_line)
                .annotation(
                    AnnotationKind::Primary
                        .span(place.range.clone())
                        .label(label),
                ),
        );
    }
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = renderer.render(&[group]);
    for fact in &problem.facts {
        for line in fact.lines() {
            text.push_str("\n  ");
            text.push_str(line);
        }
    }
    if let Some(help) = &problem.help {
        text.push_str("\nhelp: ");
        text.push_str(help);
    }
    text.push('\n');
    text
}
