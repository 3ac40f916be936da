//! Expressions in the braces of a string: integers with Python's operators; pure.
//!
//! They are what a makefile or a `conftest.py` computes from a parameter, and nothing else: every
//! value is an integer of 64 bits, and what does not fit is an error instead of another number.

use crate::model::build::HdlValue;
use crate::model::step;

use std::ops::Range;

/// How deeply parentheses and calls may nest.
const DEPTH_MAX: usize = 64;

/// How many words and marks one may have; a long sum nests as deeply.
const TOKENS_MAX: usize = 1000;

/// Why an expression has no value, and the bytes of the expression that are to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) range: Range<usize>,
    pub(super) message: String,
    /// The name that no value has, if that is the reason.
    pub(super) unknown_name: Option<String>,
}

impl Fault {
    fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            range,
            message: message.into(),
            unknown_name: None,
        }
    }
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    node: Node,
    range: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Number(i64),
    Name(String),
    Negated(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Call(Function, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    FloorDivide,
    Modulo,
    Power,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    Clog2,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is not one; the range is within `text`.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        // `OUT:NAME` is the directory of a step, whose name may contain `-`.
        if text.trim().starts_with("OUT:") {
            let name = text.trim();
            let start = text.len() - text.trim_start().len();
            return Ok(Self {
                node: Node::Name(name.to_owned()),
                range: start..start + name.len(),
            });
        }
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
            end: text.len(),
        };
        let expression = parser.comparison(0)?;
        match parser.next() {
            None => Ok(expression),
            Some(token) => Err(Fault::new(
                token.range,
                format!("unexpected `{}`", token.text),
            )),
        }
    }

    /// Returns the name if the expression consists of nothing else.
    pub(super) fn as_name(&self) -> Option<&str> {
        match &self.node {
            Node::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Returns the bytes that it was read from.
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Returns every name in the expression, with its place.
    pub(super) fn names(&self) -> Vec<(&str, Range<usize>)> {
        match &self.node {
            Node::Number(_) => Vec::new(),
            Node::Name(name) => vec![(name, self.range())],
            Node::Negated(operand) => operand.names(),
            Node::Binary(_, left, right) => [left.names(), right.names()].concat(),
            Node::Call(_, arguments) => arguments.iter().flat_map(Self::names).collect(),
        }
    }

    /// Computes the value; `value_of` gives those of names.
    ///
    /// # Errors
    /// A name has no value or none that is a whole number, or the result does not exist or does
    /// not fit 64 bits.
    pub(super) fn evaluate<'v>(
        &self,
        value_of: &dyn Fn(&str) -> Option<&'v HdlValue>,
    ) -> Result<i64, Fault> {
        match &self.node {
            Node::Number(number) => Ok(*number),
            Node::Name(name) => self.integer(name, value_of(name)),
            Node::Negated(operand) => operand
                .evaluate(value_of)?
                .checked_neg()
                .ok_or_else(|| self.overflow()),
            Node::Binary(operator, left, right) => {
                let (a, b) = (left.evaluate(value_of)?, right.evaluate(value_of)?);
                self.binary(*operator, a, b, right)
            }
            Node::Call(function, arguments) => {
                let values: Result<Vec<i64>, Fault> =
                    arguments.iter().map(|it| it.evaluate(value_of)).collect();
                let values = values?;
                let value = match function {
                    Function::Min => values.iter().copied().min(),
                    Function::Max => values.iter().copied().max(),
                    Function::Clog2 => values.first().copied().and_then(clog2),
                };
                value.ok_or_else(|| {
                    Fault::new(self.range(), "`clog2` of a negative number does not exist")
                })
            }
        }
    }

    fn integer(&self, name: &str, value: Option<&HdlValue>) -> Result<i64, Fault> {
        let what = match value {
            Some(HdlValue::Integer(number)) => return Ok(*number),
            Some(HdlValue::Boolean(answer)) => return Ok(i64::from(*answer)),
            Some(HdlValue::Real(text)) => format!("the real number {text}"),
            Some(HdlValue::Text(text)) => format!("the string `{}`", step::shown(text)),
            Some(HdlValue::Sv(text)) => format!("the SystemVerilog text `{text}`"),
            Some(HdlValue::Flag) => "a macro without a value".to_owned(),
            None => {
                return Err(Fault {
                    unknown_name: Some(name.to_owned()),
                    ..Fault::new(self.range(), format!("no parameter is called `{name}`"))
                });
            }
        };
        Err(Fault::new(
            self.range(),
            format!("`{name}` is {what}, and expressions take whole numbers"),
        ))
    }

    fn binary(&self, operator: Operator, a: i64, b: i64, right: &Self) -> Result<i64, Fault> {
        let needs_divisor = matches!(operator, Operator::FloorDivide | Operator::Modulo);
        if needs_divisor && b == 0 {
            return Err(Fault::new(right.range(), "division by zero"));
        }
        if operator == Operator::Power && b < 0 {
            let message = format!("{a} to the power of {b} is not a whole number");
            return Err(Fault::new(right.range(), message));
        }
        let value = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::FloorDivide => floor_divide(a, b),
            Operator::Modulo => Some(modulo(a, b)),
            Operator::Power => power(a, b),
            Operator::Equal => Some(i64::from(a == b)),
            Operator::Unequal => Some(i64::from(a != b)),
            Operator::Less => Some(i64::from(a < b)),
            Operator::LessOrEqual => Some(i64::from(a <= b)),
            Operator::Greater => Some(i64::from(a > b)),
            Operator::GreaterOrEqual => Some(i64::from(a >= b)),
        };
        value.ok_or_else(|| self.overflow())
    }

    fn overflow(&self) -> Fault {
        Fault::new(self.range(), "the result does not fit 64 bits")
    }
}

/// Rounds down, as Python's `//` does; `None` if the result does not fit.
fn floor_divide(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    let is_rounded_up = a.checked_rem(b)? != 0 && (a < 0) != (b < 0);
    Some(quotient - i64::from(is_rounded_up))
}

/// Returns what is left of a division that rounds down, with the sign of `b`, which is not 0.
fn modulo(a: i64, b: i64) -> i64 {
    // Only the smallest number divided by -1 does not fit, and it leaves nothing.
    let remainder = a.checked_rem(b).unwrap_or(0);
    if remainder != 0 && (remainder < 0) != (b < 0) {
        remainder + b
    } else {
        remainder
    }
}

fn power(base: i64, exponent: i64) -> Option<i64> {
    match base {
        0 => Some(i64::from(exponent == 0)),
        1 => Some(1),
        -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
        _ => base.checked_pow(u32::try_from(exponent).ok()?),
    }
}

/// Returns how many bits address `count` words, as `$clog2` does: 0 for 0 and 1.
fn clog2(count: i64) -> Option<i64> {
    let count = u64::try_from(count).ok()?;
    let last = count.saturating_sub(1);
    Some(i64::from(u64::BITS - last.leading_zeros()))
}

#[derive(Clone, Debug)]
struct Token<'t> {
    text: &'t str,
    range: Range<usize>,
}

/// Marks, longer ones before their beginnings.
const MARKS: [&str; 15] = [
    "//", "**", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "%", "(", ")", ",",
];

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let length = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if first.is_ascii_alphanumeric() || first == '_' {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            mark.len()
        } else {
            let range = at..at + first.len_utf8();
            return Err(Fault::new(
                range,
                match first {
                    '/' => "write `//`: expressions have whole numbers only".to_owned(),
                    '=' => "write `==` to compare".to_owned(),
                    _ => format!("an expression cannot contain `{first}`"),
                },
            ));
        };
        if tokens.len() >= TOKENS_MAX {
            let message = format!("the expression has more than {TOKENS_MAX} words and marks");
            return Err(Fault::new(at..at + length, message));
        }
        tokens.push(Token {
            text: &rest[..length],
            range: at..at + length,
        });
        at += length;
    }
    Ok(tokens)
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    /// The length of the whole text.
    end: usize,
}

type Parsed = Result<Expression, Fault>;

impl<'t> Parser<'t> {
    fn next(&mut self) -> Option<Token<'t>> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn peek(&self) -> Option<&'t str> {
        self.tokens.get(self.at).map(|token| token.text)
    }

    /// Takes the next token if it is this one.
    fn take(&mut self, text: &str) -> bool {
        let is_it = self.peek() == Some(text);
        self.at += usize::from(is_it);
        is_it
    }

    fn take_operator(&mut self, known: &[(&str, Operator)]) -> Option<Operator> {
        let text = self.peek()?;
        let (_, operator) = known.iter().find(|(mark, _)| *mark == text)?;
        self.at += 1;
        Some(*operator)
    }

    fn comparison(&mut self, depth: usize) -> Parsed {
        const COMPARISONS: [(&str, Operator); 6] = [
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<", Operator::Less),
            ("<=", Operator::LessOrEqual),
            (">", Operator::Greater),
            (">=", Operator::GreaterOrEqual),
        ];
        let left = self.sum(depth)?;
        let Some(operator) = self.take_operator(&COMPARISONS) else {
            return Ok(left);
        };
        let compared = binary(operator, left, self.sum(depth)?);
        // Python chains them and C does not: `1 < 3 < 2` would be false or true.
        let place = self.tokens.get(self.at).map(|token| token.range.clone());
        match (self.take_operator(&COMPARISONS), place) {
            (Some(_), Some(range)) => Err(Fault::new(range, "comparisons cannot be chained")),
            _ => Ok(compared),
        }
    }

    fn sum(&mut self, depth: usize) -> Parsed {
        let marks = [("+", Operator::Add), ("-", Operator::Subtract)];
        let mut left = self.product(depth)?;
        while let Some(operator) = self.take_operator(&marks) {
            left = binary(operator, left, self.product(depth)?);
        }
        Ok(left)
    }

    fn product(&mut self, depth: usize) -> Parsed {
        let marks = [
            ("*", Operator::Multiply),
            ("//", Operator::FloorDivide),
            ("%", Operator::Modulo),
        ];
        let mut left = self.signed(depth)?;
        while let Some(operator) = self.take_operator(&marks) {
            left = binary(operator, left, self.signed(depth)?);
        }
        Ok(left)
    }

    fn signed(&mut self, depth: usize) -> Parsed {
        let start = self
            .tokens
            .get(self.at)
            .map_or(self.end, |it| it.range.start);
        if self.take("+") {
            return self.signed(deeper(depth, start)?);
        }
        if self.take("-") {
            let operand = self.signed(deeper(depth, start)?)?;
            let range = start..operand.range.end;
            let node = Node::Negated(Box::new(operand));
            return Ok(Expression { node, range });
        }
        let base = self.atom(depth)?;
        if self.take("**") {
            // The power of a power is read from the right: 2 ** 3 ** 2 is 512.
            let exponent = self.signed(deeper(depth, start)?)?;
            return Ok(binary(Operator::Power, base, exponent));
        }
        Ok(base)
    }

    fn atom(&mut self, depth: usize) -> Parsed {
        let Some(token) = self.next() else {
            let last = self.end.saturating_sub(1)..self.end;
            return Err(Fault::new(last, "a number or a name is missing"));
        };
        let range = token.range.clone();
        if token.text == "(" {
            let inner = self.comparison(deeper(depth, range.start)?)?;
            let end = self.close(&range)?;
            let range = range.start..end;
            return Ok(Expression { range, ..inner });
        }
        if token.text.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = token.text.replace('_', "");
            return match digits.parse() {
                Ok(number) => Ok(Expression {
                    node: Node::Number(number),
                    range,
                }),
                Err(_) if digits.chars().all(|c| c.is_ascii_digit()) => {
                    Err(Fault::new(range, "the number does not fit 64 bits"))
                }
                Err(_) => Err(Fault::new(
                    range,
                    format!("`{}` is not a decimal number", token.text),
                )),
            };
        }
        if !token
            .text
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        {
            return Err(Fault::new(range, format!("unexpected `{}`", token.text)));
        }
        if self.peek() == Some("(") {
            return self.call(&token, depth);
        }
        Ok(Expression {
            node: Node::Name(token.text.to_owned()),
            range,
        })
    }

    fn call(&mut self, name: &Token<'_>, depth: usize) -> Parsed {
        let opened = self.next().map_or(name.range.clone(), |token| token.range);
        let function = match name.text {
            "min" => Function::Min,
            "max" => Function::Max,
            "clog2" => Function::Clog2,
            _ => {
                let message = format!("no function is called `{}`", name.text);
                return Err(Fault::new(
                    name.range.clone(),
                    format!("{message}; there are `min`, `max` and `clog2`"),
                ));
            }
        };
        let depth = deeper(depth, name.range.start)?;
        let mut arguments = vec![self.comparison(depth)?];
        while self.take(",") {
            arguments.push(self.comparison(depth)?);
        }
        let range = name.range.start..self.close(&opened)?;
        let is_one = function == Function::Clog2;
        if is_one && arguments.len() != 1 {
            return Err(Fault::new(range, "`clog2` takes one number"));
        }
        if !is_one && arguments.len() < 2 {
            let message = format!("`{}` takes two or more numbers", name.text);
            return Err(Fault::new(range, message));
        }
        let node = Node::Call(function, arguments);
        Ok(Expression { node, range })
    }

    /// Takes a closing parenthesis and returns its end.
    fn close(&mut self, opened: &Range<usize>) -> Result<usize, Fault> {
        match self.next() {
            Some(token) if token.text == ")" => Ok(token.range.end),
            Some(token) => Err(Fault::new(
                token.range,
                format!("unexpected `{}`", token.text),
            )),
            None => Err(Fault::new(
                opened.clone(),
                "the parenthesis is never closed",
            )),
        }
    }
}

fn deeper(depth: usize, at: usize) -> Result<usize, Fault> {
    if depth >= DEPTH_MAX {
        let message = format!("the expression nests deeper than {DEPTH_MAX}");
        return Err(Fault::new(at..at + 1, message));
    }
    Ok(depth + 1)
}

fn binary(operator: Operator, left: Expression, right: Expression) -> Expression {
    Expression {
        range: left.range.start..right.range.end,
        node: Node::Binary(operator, Box::new(left), Box::new(right)),
    }
}

#[cfg(test)]
mod tests;
