//! The language itself: parsing, what is ours on top of it, and the interpreter for what has no direct form.
//!
//! Nothing outside this folder knows crate `cel`, and nothing but this file calls its parser or interpreter.

use super::{
    direct::{self, Reference},
    error::{AudienceError, AudienceEvaluationError, Place},
    scan::Token,
};
use crate::domain::audience::{Attributes, Value};
use cel::{
    Context, Env, IdedExpr,
    common::{
        ast::{
            CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, SelectExpr, SourceInfo,
            operators,
        },
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// The macro for presence.
pub(super) const HAS: &str = "has";

/// The macros that bind a name to each element.
pub(super) const LOOPS: [&str; 6] = ["all", "exists", "exists_one", "existsOne", "filter", "map"];

/// Begins the variables that answer whether an attribute is present; a space is in no name.
const PRESENCE: &str = "has ";

/// Where loops keep their result; no source can write this name.
const RESULT: &str = "@result";

/// Functions and types, registered once: that takes some sixty microseconds, an evaluation less than one. It has no
/// macros, so that the tree of a program is what was written; [`expand`] adds them.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// The tree of a source, and where its parts were written.
pub(super) fn parse(source: &str, tokens: &[Token<'_>]) -> Result<(IdedExpr, SourceInfo), AudienceError> {
    ENVIRONMENT
        .parser()
        .parse_with_source_info(source)
        .map_err(|failed| {
            // The parser also reports what it could not build around the first slip; the slip itself says more.
            let errors = &failed.errors;
            let is_slip = |error: &&cel::ParseError| !error.msg.starts_with("Incomplete");
            let error = errors.iter().find(is_slip).or(errors.first());
            let (offset, message) =
                error.map_or((0, ""), |error| (offset(source, error.pos), error.msg.as_str()));
            AudienceError::Syntax {
                place: Place::of(source, offset),
                problem: problem(message, tokens, offset),
            }
        })
}

/// The byte offset of a line and column as the parser counts them, from one and in characters.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let steps = |count: isize| usize::try_from(count - 1).unwrap_or(0);
    let line_start: usize = source.split_inclusive('\n').take(steps(line)).map(str::len).sum();
    let rest = &source[line_start..];
    line_start
        + rest
            .char_indices()
            .nth(steps(column))
            .map_or(rest.len(), |(at, _)| at)
}

/// What a parser's complaint at a token comes down to.
fn problem(message: &str, tokens: &[Token<'_>], offset: usize) -> String {
    let at = tokens.partition_point(|token| token.at < offset);
    let found = tokens.get(at).map(|token| token.text);
    let before = at
        .checked_sub(1)
        .and_then(|before| tokens.get(before))
        .map(|token| token.text);
    let quoted = found.or(before).unwrap_or_default();
    for (start, problem) in [
        ("reserved identifier", "is a reserved word and names no attribute"),
        ("invalid int", "is no number that fits"),
        ("invalid uint", "is no number that fits"),
        ("invalid double", "is no number that fits"),
        ("invalid string", "has an escape that is not allowed"),
        ("invalid bytes", "has an escape that is not allowed"),
        (
            "Syntax error: token recognition",
            "has an escape that is not allowed, write `\\\\` for a backslash",
        ),
        (
            "unsupported syntax",
            "belongs to optional values, which are not available",
        ),
    ] {
        if message.starts_with(start) {
            return format!("`{quoted}` {problem}");
        }
    }
    let Some(found) = found else {
        return format!("something is missing after `{quoted}`");
    };
    let hint = slip(tokens, at).map_or(String::new(), |hint| format!(", {hint}"));
    match before {
        Some(before) => format!("unexpected `{found}` after `{before}`{hint}"),
        None => format!("unexpected `{found}`{hint}"),
    }
}

/// The usual slips of those who know another language better.
fn slip(tokens: &[Token<'_>], at: usize) -> Option<&'static str> {
    let word = |at: Option<usize>| {
        at.and_then(|at| tokens.get(at))
            .map(|token| token.text.to_ascii_lowercase())
    };
    let found = word(Some(at))?;
    let before = word(at.checked_sub(1)).unwrap_or_default();
    match (before.as_str(), found.as_str()) {
        (_, "not") if word(Some(at + 1)).as_deref() == Some("in") => Some("write `!(… in […])`"),
        (_, "and") => Some("write `&&`"),
        (_, "or") => Some("write `||`"),
        ("not", _) => Some("write `!`"),
        (_, "is") => Some("write `==`"),
        ("<", ">") => Some("write `!=`"),
        (_, "like" | "matches") => Some("write `.startsWith(…)`, `.endsWith(…)` or `.contains(…)`"),
        (_, ",") => {
            let mut depth = 0_usize;
            let open = tokens[..at].iter().rposition(|token| match token.text {
                ")" | "]" | "}" => {
                    depth += 1;
                    false
                }
                "(" | "[" | "{" if depth > 0 => {
                    depth -= 1;
                    false
                }
                "(" | "[" | "{" => true,
                _ => false,
            })?;
            let is_list = tokens[open].text == "(" && word(open.checked_sub(1)).as_deref() == Some("in");
            is_list.then_some("write the list in square brackets")
        }
        _ => None,
    }
}

/// The tree with its macros replaced by what they stand for. It was checked before: arguments are as they must be.
pub(super) fn expand(expression: &IdedExpr) -> IdedExpr {
    let mut expanded = expression.clone();
    rewrite(&mut expanded, None);
    expanded
}

/// `bound` is the name of the loop around; loops do not nest, so there is at most one.
fn rewrite(expression: &mut IdedExpr, bound: Option<&str>) {
    match &mut expression.expr {
        Expr::Call(call) => {
            if let Some(presence) = presence(call, bound) {
                expression.expr = presence;
                return;
            }
            if let Some(target) = &mut call.target {
                rewrite(target, bound);
            }
            let variable = call.args.first().and_then(|argument| match &argument.expr {
                Expr::Ident(name) if call.target.is_some() && LOOPS.contains(&call.func_name.as_str()) => {
                    Some(name.clone())
                }
                _ => None,
            });
            for argument in &mut call.args {
                rewrite(argument, variable.as_deref().or(bound));
            }
            if let Some(variable) = variable {
                expression.expr = comprehension(std::mem::take(call), variable);
            }
        }
        Expr::Select(select) => rewrite(&mut select.operand, bound),
        Expr::List(list) => list
            .elements
            .iter_mut()
            .for_each(|element| rewrite(element, bound)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(pair) = &mut entry.expr {
                    rewrite(&mut pair.key, bound);
                    rewrite(&mut pair.value, bound);
                }
            }
        }
        _ => {}
    }
}

/// What `has(path)` stands for. Of an attribute it is a variable that no source can write and [`Variables`] answers:
/// the language's own test fails where a step is missing. Of a loop's variable it is the language's own.
fn presence(call: &CallExpr, bound: Option<&str>) -> Option<Expr> {
    let [of] = call.args.as_slice() else { return None };
    if call.func_name != HAS || call.target.is_some() {
        return None;
    }
    let names = direct::names(of)?;
    if names.first().copied() != bound {
        return Some(Expr::Ident(format!("{PRESENCE}{}", names.join("."))));
    }
    let not_null = invoke(
        operators::NOT_EQUALS,
        [of.clone(), node(Expr::Literal(LiteralValue::Null))],
    );
    let Expr::Select(select) = &of.expr else {
        return Some(not_null.expr);
    };
    let test = node(Expr::Select(SelectExpr {
        test: true,
        ..select.clone()
    }));
    Some(invoke(operators::LOGICAL_AND, [test, not_null]).expr)
}

/// The loop a call of a macro stands for, in the shapes the interpreter knows and runs without copying.
fn comprehension(call: CallExpr, variable: String) -> Expr {
    let mut arguments = call.args.into_iter();
    let mut next = || arguments.next();
    let (element, first, second) = (next().unwrap_or_default(), next().unwrap_or_default(), next());
    let result = || node(Expr::Ident(RESULT.to_owned()));
    let truth = |value: bool| node(Expr::Literal(LiteralValue::Boolean(value.into())));
    let number = |value: i64| node(Expr::Literal(LiteralValue::Int(value.into())));
    let list = |elements| node(Expr::List(ListExpr::new(elements)));
    let append = |element| invoke(operators::ADD, [result(), list(vec![element])]);
    let append_if =
        |condition, element| invoke(operators::CONDITIONAL, [condition, append(element), result()]);
    let (accu_init, loop_cond, loop_step, result) = match (call.func_name.as_str(), second) {
        ("all", _) => (
            truth(true),
            invoke(operators::NOT_STRICTLY_FALSE, [result()]),
            invoke(operators::LOGICAL_AND, [result(), first]),
            result(),
        ),
        ("exists", _) => (
            truth(false),
            invoke(
                operators::NOT_STRICTLY_FALSE,
                [invoke(operators::LOGICAL_NOT, [result()])],
            ),
            invoke(operators::LOGICAL_OR, [result(), first]),
            result(),
        ),
        ("filter", _) => (list(vec![]), truth(true), append_if(first, element), result()),
        ("map", None) => (list(vec![]), truth(true), append(first), result()),
        ("map", Some(second)) => (list(vec![]), truth(true), append_if(first, second), result()),
        _ => (
            number(0),
            truth(true),
            invoke(
                operators::CONDITIONAL,
                [first, invoke(operators::ADD, [result(), number(1)]), result()],
            ),
            invoke(operators::EQUALS, [result(), number(1)]),
        ),
    };
    Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: call.target.map(|target| *target).unwrap_or_default(),
        iter_var: variable,
        iter_var2: None,
        accu_var: RESULT.to_owned(),
        accu_init,
        loop_cond,
        loop_step,
        result,
    }))
}

/// A part of the tree that was not written, and so has no place.
fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn invoke<const N: usize>(name: &str, arguments: [IdedExpr; N]) -> IdedExpr {
    node(Expr::Call(CallExpr {
        func_name: name.to_owned(),
        target: None,
        args: arguments.into(),
    }))
}

/// What an expanded tree answers.
pub(super) fn matches(
    expression: &IdedExpr,
    attributes: &Attributes<'_>,
) -> Result<bool, AudienceEvaluationError> {
    let variables = Variables(attributes);
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(&variables);
    match cel::Value::resolve(expression, &context) {
        Ok(cel::Value::Bool(answer)) => Ok(answer),
        _ => Err(AudienceEvaluationError),
    }
}

/// Attributes as the interpreter's variables.
struct Variables<'r>(&'r Attributes<'r>);

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(path) = variable.strip_prefix(PRESENCE) {
            let names: Vec<&str> = path.split('.').collect();
            let found = Reference::of_names(&names)?.find(self.0);
            let is_present = found.is_ok_and(|value| !matches!(value, Value::Null));
            return Some(truth(is_present));
        }
        match self.0.find(variable) {
            Some(value) => Some(interpreted(value)),
            // Of `a.b.c` the interpreter tries `a.b.c`, then `a.b`, then `a`: only the last is an attribute for sure.
            None if variable.contains('.') => None,
            None => Some(CowVal::Borrowed(&CelNull)),
        }
    }
}

fn truth<'b>(value: bool) -> CowVal<'b, 'b> {
    CowVal::Borrowed(if value { &CelBool::TRUE } else { &CelBool::FALSE })
}

fn interpreted<'b>(value: &'b Value<'_>) -> CowVal<'b, 'b> {
    match value {
        Value::Null => CowVal::Borrowed(&CelNull),
        Value::Bool(value) => truth(*value),
        Value::Int(value) => CowVal::owned(CelInt::from(*value)),
        Value::UInt(value) => CowVal::owned(CelUInt::from(*value)),
        Value::Float(value) => CowVal::owned(CelDouble::from(*value)),
        Value::Text(value) => CowVal::owned(CelString::from(&**value)),
        Value::List(values) => {
            let values: Vec<Box<dyn Val + 'b>> = values
                .iter()
                .map(|value| interpreted(value).into_owned())
                .collect();
            CowVal::owned(CelList::from(values))
        }
        Value::Map(pairs) => {
            let pairs: HashMap<CelMapKey<'b>, Box<dyn Val + 'b>> = pairs
                .iter()
                .map(|(name, value)| {
                    (
                        CelMapKey::String(CelString::from(&**name)),
                        interpreted(value).into_owned(),
                    )
                })
                .collect();
            CowVal::owned(CelMap::from(pairs))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the trees are alike but for ids.
    fn assert_alike(left: &IdedExpr, right: &IdedExpr, source: &str) {
        let shape = |tree: &IdedExpr| {
            let text = format!("{tree:?}");
            let parts = text.split("id: ").enumerate();
            let without = |(at, part): (usize, &str)| match at {
                0 => part.to_owned(),
                _ => part.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned(),
            };
            parts.map(without).collect::<String>()
        };
        assert_eq!(shape(left), shape(right), "{source}");
    }

    #[test]
    fn loops_expand_as_the_standard_macros_do() {
        let standard = Env::stdlib();
        for source in [
            "items.all(i, i > 1)",
            "items.exists(i, i.x > 1 && i.x in [1, 2])",
            "items.exists_one(i, i == 1) || !(a.b.existsOne(i, i == 2))",
            "size(items.filter(i, i > 1)) > {'a': items.map(i, i + 1)}.size()",
            "[1, 2].map(i, i > 1, i * 2) == [4]",
        ] {
            let (ours, _) = ENVIRONMENT.parser().parse_with_source_info(source).unwrap();
            let theirs = standard.compile(source).unwrap();
            assert_alike(&expand(&ours), theirs.expression(), source);
        }
    }
}
