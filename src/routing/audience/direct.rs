//! The direct matcher: the usual forms of an audience as comparisons over borrowed values.
//!
//! It answers exactly what the interpreter answers. Where a part of an expression has no direct form, that part alone
//! is left to the interpreter, and asked last.

use super::{error::AudienceEvaluationError, interpret};
use crate::domain::audience::{Attributes, Value};
use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue, operators},
};
use std::cmp::Ordering;

/// Longer lists are sorted and halved; up to here comparing one by one is quicker.
const LONGEST_WALKED_LIST: usize = 8;

type Answer = Result<bool, AudienceEvaluationError>;

/// An expression where true, false and error are all that matters: a value that is no boolean is an error.
#[derive(Debug)]
pub(super) enum Matcher {
    Constant(bool),
    Clause(Reference, Test),
    Not(Box<Matcher>),
    /// False if one is false, else an error if one is, else true: the order does not matter.
    All(Box<[Matcher]>),
    /// True if one is true, else an error if one is, else false: the order does not matter.
    Any(Box<[Matcher]>),
    /// Condition, answer if it is true, answer if it is false.
    Choice(Box<[Matcher; 3]>),
    Interpreted(Box<IdedExpr>),
}

/// What a clause asks of the one attribute it looks at.
#[derive(Debug)]
pub(super) enum Test {
    IsTrue,
    IsPresent,
    Equals(Literal),
    Differs(Literal),
    Ordered(Order, Literal),
    OneOf(Options),
    Holds(Literal),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Box<str>),
}

/// The right side of `in`: texts apart, and sorted when they are many.
#[derive(Debug)]
pub(super) struct Options {
    texts: Box<[Box<str>]>,
    is_sorted: bool,
    others: Box<[Literal]>,
}

/// An attribute, or a field inside one.
#[derive(Debug)]
pub(super) enum Reference {
    Attribute(Box<str>),
    Field(Box<Field>),
}

/// `a.b.c`: the attribute `a.b.c`, else field `c` of attribute `a.b`, else fields `b` and `c` of attribute `a`.
#[derive(Debug)]
pub(super) struct Field {
    /// Attribute names, the longest first.
    attributes: Box<[Box<str>]>,
    /// The names after the first one: the last n of them are looked up in the n-th attribute.
    fields: Box<[Box<str>]>,
}

impl Matcher {
    /// The expression with every part that has a direct form lowered.
    pub(super) fn lower(expression: &IdedExpr) -> Self {
        if let Some((reference, test)) = clause(expression) {
            return Self::Clause(reference, test);
        }
        match &expression.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => Self::Constant(*value.inner()),
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::LOGICAL_AND, _) => Self::All(terms(expression, operators::LOGICAL_AND)),
                (operators::LOGICAL_OR, _) => Self::Any(terms(expression, operators::LOGICAL_OR)),
                (operators::LOGICAL_NOT, [of]) => Self::Not(Box::new(Self::lower(of))),
                (operators::CONDITIONAL, [condition, if_true, if_false]) => {
                    Self::Choice(Box::new([condition, if_true, if_false].map(Self::lower)))
                }
                _ => Self::interpret(expression),
            },
            _ => Self::interpret(expression),
        }
    }

    /// The expression with nothing lowered.
    pub(super) fn interpret(expression: &IdedExpr) -> Self {
        Self::Interpreted(Box::new(interpret::expand(expression)))
    }

    #[inline]
    pub(super) fn matches(&self, attributes: &Attributes<'_>) -> Answer {
        match self {
            Self::Clause(reference, test) => test.holds(reference, attributes),
            Self::All(parts) => absorbing(parts, false, attributes),
            Self::Any(parts) => absorbing(parts, true, attributes),
            Self::Not(of) => of.matches(attributes).map(|answer| !answer),
            Self::Choice(parts) => {
                let [condition, if_true, if_false] = &**parts;
                if condition.matches(attributes)? {
                    if_true
                } else {
                    if_false
                }
                .matches(attributes)
            }
            Self::Constant(answer) => Ok(*answer),
            Self::Interpreted(expression) => interpret::matches(expression, attributes),
        }
    }

    pub(super) fn is_direct(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Clause(..) => true,
            Self::Not(of) => of.is_direct(),
            Self::All(parts) | Self::Any(parts) => parts.iter().all(Self::is_direct),
            Self::Choice(parts) => parts.iter().all(Self::is_direct),
            Self::Interpreted(_) => false,
        }
    }
}

/// The answer of parts of which one `decisive` answer settles the whole, whatever errors stand beside it.
fn absorbing(parts: &[Matcher], decisive: bool, attributes: &Attributes<'_>) -> Answer {
    let mut answer = Ok(!decisive);
    for part in parts {
        match part.matches(attributes) {
            Ok(settled) if settled == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(error) => answer = Err(error),
        }
    }
    answer
}

/// The operands of a tree of one operator, the direct ones first: they may settle the answer for nothing.
fn terms(expression: &IdedExpr, operator: &str) -> Box<[Matcher]> {
    fn collect(expression: &IdedExpr, operator: &str, terms: &mut Vec<Matcher>) {
        match &expression.expr {
            Expr::Call(call) if call.func_name == operator => {
                for argument in &call.args {
                    collect(argument, operator, terms);
                }
            }
            _ => terms.push(Matcher::lower(expression)),
        }
    }
    let mut terms = Vec::new();
    collect(expression, operator, &mut terms);
    terms.sort_by_key(|term| !term.is_direct());
    terms.into()
}

/// The clause an expression is, if it asks one thing of one attribute.
fn clause(expression: &IdedExpr) -> Option<(Reference, Test)> {
    let Expr::Call(call) = &expression.expr else {
        return Some((Reference::of(expression)?, Test::IsTrue));
    };
    let CallExpr {
        func_name,
        target,
        args,
    } = call;
    match (func_name.as_str(), target.as_deref(), args.as_slice()) {
        (interpret::HAS, None, [of]) => Some((Reference::of(of)?, Test::IsPresent)),
        ("startsWith", Some(of), [pattern]) => Some((Reference::of(of)?, Test::StartsWith(text(pattern)?))),
        ("endsWith", Some(of), [pattern]) => Some((Reference::of(of)?, Test::EndsWith(text(pattern)?))),
        ("contains", Some(of), [pattern]) => Some((Reference::of(of)?, Test::Contains(text(pattern)?))),
        (operators::IN, None, [left, right]) => match (&right.expr, Literal::of(left)) {
            (Expr::List(list), _) => Some((Reference::of(left)?, Test::OneOf(Options::of(&list.elements)?))),
            (_, Some(literal)) => Some((Reference::of(right)?, Test::Holds(literal))),
            _ => None,
        },
        (operator, None, [left, right]) => match (Literal::of(left), Literal::of(right)) {
            (None, Some(literal)) => Some((Reference::of(left)?, Test::of(operator, literal)?)),
            (Some(literal), None) => Some((Reference::of(right)?, Test::of(mirrored(operator), literal)?)),
            _ => None,
        },
        _ => None,
    }
}

/// The operator that answers the same with its sides exchanged.
fn mirrored(operator: &str) -> &str {
    match operator {
        operators::LESS => operators::GREATER,
        operators::LESS_EQUALS => operators::GREATER_EQUALS,
        operators::GREATER => operators::LESS,
        operators::GREATER_EQUALS => operators::LESS_EQUALS,
        symmetric => symmetric,
    }
}

fn text(expression: &IdedExpr) -> Option<Box<str>> {
    match Literal::of(expression)? {
        Literal::Text(text) => Some(text),
        _ => None,
    }
}

impl Test {
    fn of(operator: &str, literal: Literal) -> Option<Self> {
        match operator {
            operators::EQUALS => Some(Self::Equals(literal)),
            operators::NOT_EQUALS => Some(Self::Differs(literal)),
            operators::LESS => Some(Self::Ordered(Order::Less, literal)),
            operators::LESS_EQUALS => Some(Self::Ordered(Order::LessOrEqual, literal)),
            operators::GREATER => Some(Self::Ordered(Order::Greater, literal)),
            operators::GREATER_EQUALS => Some(Self::Ordered(Order::GreaterOrEqual, literal)),
            _ => None,
        }
    }

    #[inline]
    fn holds(&self, reference: &Reference, attributes: &Attributes<'_>) -> Answer {
        let value = match reference.find(attributes) {
            Ok(value) => value,
            // A presence test is the one way to ask about a field that may not be there.
            Err(_) if matches!(self, Self::IsPresent) => return Ok(false),
            Err(error) => return Err(error),
        };
        match self {
            Self::IsTrue => match value {
                Value::Bool(value) => Ok(*value),
                _ => Err(AudienceEvaluationError),
            },
            Self::IsPresent => Ok(!matches!(value, Value::Null)),
            Self::Equals(literal) => Ok(literal.equals(value)),
            Self::Differs(literal) => Ok(!literal.equals(value)),
            Self::Ordered(order, literal) => literal
                .order_of(value)
                .map(|ordering| order.allows(ordering))
                .ok_or(AudienceEvaluationError),
            Self::OneOf(options) => Ok(options.hold(value)),
            Self::Holds(literal) => literal.is_in(value),
            Self::StartsWith(pattern) => in_text(value, |text| text.starts_with(&**pattern)),
            Self::EndsWith(pattern) => in_text(value, |text| text.ends_with(&**pattern)),
            Self::Contains(pattern) => in_text(value, |text| text.contains(&**pattern)),
        }
    }
}

fn in_text(value: &Value<'_>, holds: impl FnOnce(&str) -> bool) -> Answer {
    match value {
        Value::Text(text) => Ok(holds(text)),
        _ => Err(AudienceEvaluationError),
    }
}

impl Order {
    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Literal {
    fn of(expression: &IdedExpr) -> Option<Self> {
        match &expression.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Null => Some(Self::Null),
                LiteralValue::Boolean(value) => Some(Self::Bool(*value.inner())),
                LiteralValue::Int(value) => Some(Self::Int(*value.inner())),
                LiteralValue::UInt(value) => Some(Self::UInt(*value.inner())),
                LiteralValue::Double(value) => Some(Self::Float(*value.inner())),
                LiteralValue::String(value) => Some(Self::Text(value.inner().into())),
                LiteralValue::Bytes(_) => None,
            },
            _ => None,
        }
    }

    /// `==`: numbers of all kinds compare by value, everything else only with its own kind.
    #[inline]
    fn equals(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(left), Value::Text(right)) => **left == **right,
            (Self::Bool(left), Value::Bool(right)) => left == right,
            (Self::Null, Value::Null) => true,
            _ => self.number_order_of(value) == Some(Ordering::Equal),
        }
    }

    /// How the value is ordered against this literal; none for kinds that have no order between them.
    #[inline]
    fn order_of(&self, value: &Value<'_>) -> Option<Ordering> {
        match (value, self) {
            (Value::Text(left), Self::Text(right)) => Some((**left).cmp(right)),
            (Value::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            _ => self.number_order_of(value),
        }
    }

    /// A whole number meets a fraction as a fraction, so beyond 2^53 neighbours may be equal, as the language has it.
    fn number_order_of(&self, value: &Value<'_>) -> Option<Ordering> {
        match (value, self) {
            (Value::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            (Value::Int(left), Self::UInt(right)) => {
                Some(u64::try_from(*left).map_or(Ordering::Less, |left| left.cmp(right)))
            }
            (Value::Int(left), Self::Float(right)) => (*left as f64).partial_cmp(right),
            (Value::UInt(left), Self::Int(right)) => {
                Some(i64::try_from(*left).map_or(Ordering::Greater, |left| left.cmp(right)))
            }
            (Value::UInt(left), Self::UInt(right)) => Some(left.cmp(right)),
            (Value::UInt(left), Self::Float(right)) => (*left as f64).partial_cmp(right),
            (Value::Float(left), Self::Int(right)) => left.partial_cmp(&(*right as f64)),
            (Value::Float(left), Self::UInt(right)) => left.partial_cmp(&(*right as f64)),
            (Value::Float(left), Self::Float(right)) => left.partial_cmp(right),
            _ => None,
        }
    }

    /// `in` with the attribute on the right: an element of a list, or a name in an object.
    fn is_in(&self, value: &Value<'_>) -> Answer {
        match (value, self) {
            (Value::List(elements), _) => Ok(elements.iter().any(|element| self.equals(element))),
            (Value::Map(_), Self::Null) => Err(AudienceEvaluationError),
            (Value::Map(pairs), Self::Text(name)) => Ok(pairs.iter().any(|(key, _)| *key == **name)),
            // The other kinds may be keys, but never are in an object of a request.
            (Value::Map(_), _) => Ok(false),
            _ => Err(AudienceEvaluationError),
        }
    }
}

impl Options {
    fn of(elements: &[IdedExpr]) -> Option<Self> {
        let mut texts = Vec::new();
        let mut others = Vec::new();
        for element in elements {
            match Literal::of(element)? {
                Literal::Text(text) => texts.push(text),
                other => others.push(other),
            }
        }
        if texts.len() > LONGEST_WALKED_LIST {
            texts.sort_unstable_by(|left, right| shortlex(left, right));
            texts.dedup();
        }
        Some(Self {
            is_sorted: texts.len() > LONGEST_WALKED_LIST,
            texts: texts.into(),
            others: others.into(),
        })
    }

    #[inline]
    fn hold(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Text(text) if self.is_sorted => self
                .texts
                .binary_search_by(|option| shortlex(option, text))
                .is_ok(),
            Value::Text(text) => self.texts.iter().any(|option| **option == **text),
            _ => self.others.iter().any(|option| option.equals(value)),
        }
    }
}

/// Shorter texts first: lengths stand in the list itself, so most steps of a search follow no pointer.
fn shortlex(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

impl Reference {
    /// The attribute or field an expression names, if that is all it does.
    pub(super) fn of(expression: &IdedExpr) -> Option<Self> {
        Self::of_names(&names(expression)?)
    }

    /// As [`of`](Self::of), for `a.b.c` as its names; none without names.
    pub(super) fn of_names(names: &[&str]) -> Option<Self> {
        let (first, fields) = names.split_first()?;
        if fields.is_empty() {
            return Some(Self::Attribute((*first).into()));
        }
        Some(Self::Field(Box::new(Field {
            attributes: (1..=names.len())
                .rev()
                .map(|length| names[..length].join(".").into())
                .collect(),
            fields: fields.iter().map(|name| (*name).into()).collect(),
        })))
    }

    /// A missing attribute is null; a field of what is no object, or that an object lacks, is an error.
    #[inline]
    pub(super) fn find<'r>(
        &self,
        attributes: &'r Attributes<'_>,
    ) -> Result<&'r Value<'r>, AudienceEvaluationError> {
        match self {
            Self::Attribute(name) => Ok(attributes.find(name).unwrap_or(&Value::Null)),
            Self::Field(field) => field.find(attributes),
        }
    }
}

impl Field {
    fn find<'r>(&self, attributes: &'r Attributes<'_>) -> Result<&'r Value<'r>, AudienceEvaluationError> {
        for (left, name) in self.attributes.iter().enumerate() {
            let Some(found) = attributes.find(name) else {
                continue;
            };
            let mut value = found;
            for field in &self.fields[self.fields.len() - left..] {
                let Value::Map(pairs) = value else {
                    return Err(AudienceEvaluationError);
                };
                let last = pairs.iter().rev().find(|(key, _)| *key == **field);
                value = &last.ok_or(AudienceEvaluationError)?.1;
            }
            return Ok(value);
        }
        Err(AudienceEvaluationError)
    }
}

/// `a.b.c` as its names.
pub(super) fn names(expression: &IdedExpr) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut expression = expression;
    loop {
        match &expression.expr {
            Expr::Ident(name) => {
                names.push(name.as_str());
                names.reverse();
                return Some(names);
            }
            Expr::Select(select) => {
                names.push(&select.field);
                expression = &select.operand;
            }
            _ => return None,
        }
    }
}
