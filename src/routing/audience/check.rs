//! What can be said about an expression without a request: which functions exist, which values an operator can take,
//! whether the whole can be true or false, and which attributes it looks at.
//!
//! Attributes may be anything, so a check only refuses what would fail, or never hold, for every request.

use super::{
    direct,
    error::{AudienceError, Place},
    interpret::{HAS, LOOPS},
};
use cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators},
};
use std::{
    collections::BTreeSet,
    fmt,
    ops::{BitAnd, BitOr},
};

/// Checks a whole audience; its attributes, each once and in order.
pub(super) fn check(
    source: &str,
    places: &SourceInfo,
    expression: &IdedExpr,
) -> Result<Box<[Box<str>]>, AudienceError> {
    let mut check = Check {
        source,
        places,
        attributes: BTreeSet::new(),
        bound: None,
    };
    let kinds = check.kinds(expression)?;
    if !kinds.may_be(Kinds::BOOL) {
        return Err(check.mistyped(
            expression,
            format!("an audience is true or false, this is {kinds}"),
        ));
    }
    Ok(check.attributes.into_iter().map(Into::into).collect())
}

/// The kinds a value may have when a request is there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kinds(u16);

impl Kinds {
    const BOOL: Self = Self(1);
    const INT: Self = Self(1 << 1);
    const UINT: Self = Self(1 << 2);
    const DOUBLE: Self = Self(1 << 3);
    const STRING: Self = Self(1 << 4);
    const BYTES: Self = Self(1 << 5);
    const NULL: Self = Self(1 << 6);
    const LIST: Self = Self(1 << 7);
    const MAP: Self = Self(1 << 8);
    const ANY: Self = Self((1 << 9) - 1);
    const NUMBER: Self = Self(Self::INT.0 | Self::UINT.0 | Self::DOUBLE.0);
    const KEY: Self = Self(Self::BOOL.0 | Self::INT.0 | Self::UINT.0 | Self::STRING.0);
    const NAMES: [(Self, &'static str); 9] = [
        (Self::BOOL, "bool"),
        (Self::INT, "int"),
        (Self::UINT, "uint"),
        (Self::DOUBLE, "double"),
        (Self::STRING, "string"),
        (Self::BYTES, "bytes"),
        (Self::NULL, "null"),
        (Self::LIST, "list"),
        (Self::MAP, "map"),
    ];

    fn may_be(self, other: Self) -> bool {
        self & other != Self(0)
    }

    /// Comparing takes numbers of all kinds alike.
    fn compared(self) -> Self {
        if self.may_be(Self::NUMBER) {
            self | Self::NUMBER
        } else {
            self
        }
    }
}

impl BitAnd for Kinds {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Kinds {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in Self::NAMES.iter().filter(|(kind, _)| self.may_be(*kind)) {
            write!(f, "{separator}{name}")?;
            separator = " or ";
        }
        Ok(())
    }
}

/// How a function may be called.
struct Function {
    name: &'static str,
    /// Arguments of `name(…)`.
    global: Option<usize>,
    /// Least and most arguments of `value.name(…)`.
    member: Option<(usize, usize)>,
    example: &'static str,
}

const fn function(
    name: &'static str,
    global: Option<usize>,
    member: Option<(usize, usize)>,
    example: &'static str,
) -> Function {
    Function {
        name,
        global,
        member,
        example,
    }
}

const FUNCTIONS: [Function; 18] = [
    function(HAS, Some(1), None, "has(plan)"),
    function("size", Some(1), Some((0, 0)), "size(groups)"),
    function("startsWith", None, Some((1, 1)), "plan.startsWith(\"pro\")"),
    function("endsWith", None, Some((1, 1)), "email.endsWith(\".org\")"),
    function("contains", None, Some((1, 1)), "email.contains(\"@\")"),
    function("all", None, Some((2, 2)), "groups.all(g, g != \"beta\")"),
    function(
        "exists",
        None,
        Some((2, 2)),
        "groups.exists(g, g.startsWith(\"beta\"))",
    ),
    function(
        "exists_one",
        None,
        Some((2, 2)),
        "groups.exists_one(g, g == \"beta\")",
    ),
    function(
        "existsOne",
        None,
        Some((2, 2)),
        "groups.existsOne(g, g == \"beta\")",
    ),
    function("filter", None, Some((2, 2)), "groups.filter(g, g != \"beta\")"),
    function("map", None, Some((2, 3)), "groups.map(g, size(g))"),
    function("bool", Some(1), None, "bool(flag)"),
    function("int", Some(1), None, "int(age)"),
    function("uint", Some(1), None, "uint(age)"),
    function("double", Some(1), None, "double(score)"),
    function("string", Some(1), None, "string(age)"),
    function("bytes", Some(1), None, "bytes(name)"),
    function("dyn", Some(1), None, "dyn(plan)"),
];

/// What other languages call functions.
const SYNONYMS: [(&str, &str); 14] = [
    ("any", "exists"),
    ("begins_with", "startsWith"),
    ("beginswith", "startsWith"),
    ("count", "size"),
    ("defined", "has"),
    ("every", "all"),
    ("float", "double"),
    ("includes", "contains"),
    ("integer", "int"),
    ("isset", "has"),
    ("len", "size"),
    ("length", "size"),
    ("some", "exists"),
    ("str", "string"),
];

struct Check<'c> {
    source: &'c str,
    places: &'c SourceInfo,
    attributes: BTreeSet<&'c str>,
    /// The name the loop around binds.
    bound: Option<&'c str>,
}

impl<'c> Check<'c> {
    fn kinds(&mut self, expression: &'c IdedExpr) -> Result<Kinds, AudienceError> {
        match &expression.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Kinds::BOOL,
                LiteralValue::Bytes(_) => Kinds::BYTES,
                LiteralValue::Double(_) => Kinds::DOUBLE,
                LiteralValue::Int(_) => Kinds::INT,
                LiteralValue::Null => Kinds::NULL,
                LiteralValue::String(_) => Kinds::STRING,
                LiteralValue::UInt(_) => Kinds::UINT,
            }),
            Expr::Ident(name) => self.name(expression, name),
            Expr::Select(select) => {
                let of = self.kinds(&select.operand)?;
                if !of.may_be(Kinds::MAP) {
                    return Err(self.mistyped(expression, format!("{of} has no field `{}`", select.field)));
                }
                Ok(Kinds::ANY)
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.kinds(element)?;
                }
                Ok(Kinds::LIST)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(pair) = &entry.expr {
                        self.operand(&pair.key, Kinds::KEY, "a key of a map")?;
                        self.kinds(&pair.value)?;
                    }
                }
                Ok(Kinds::MAP)
            }
            Expr::Call(call) => match (&call.target, call.args.as_slice()) {
                (None, [of]) if is_operator(call) => self.unary(expression, &call.func_name, of),
                (None, [left, right]) if is_operator(call) => {
                    self.binary(expression, &call.func_name, left, right)
                }
                (None, [condition, if_true, if_false]) if is_operator(call) => {
                    self.operand(condition, Kinds::BOOL, "the condition of `? :`")?;
                    Ok(self.kinds(if_true)? | self.kinds(if_false)?)
                }
                _ => self.call(expression, call),
            },
            Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => Err(AudienceError::Syntax {
                place: self.place(expression),
                problem: "messages are not available, write a condition over attributes".to_owned(),
            }),
        }
    }

    fn name(&mut self, expression: &IdedExpr, name: &'c str) -> Result<Kinds, AudienceError> {
        let refused = |problem: String| AudienceError::Syntax {
            place: self.place(expression),
            problem,
        };
        let meant = match name {
            "True" | "TRUE" => Some("true"),
            "False" | "FALSE" => Some("false"),
            "Null" | "NULL" | "None" | "nil" => Some("null"),
            _ => None,
        };
        if let Some(meant) = meant {
            return Err(refused(format!(
                "`{name}` would be an attribute, write `{meant}`"
            )));
        }
        if let Some(name) = name.strip_prefix('.') {
            return Err(refused(format!(
                "a leading dot means nothing here, write `{name}`"
            )));
        }
        if self.bound != Some(name) {
            self.attributes.insert(name);
        }
        Ok(Kinds::ANY)
    }

    fn unary(
        &mut self,
        expression: &'c IdedExpr,
        operator: &str,
        of: &'c IdedExpr,
    ) -> Result<Kinds, AudienceError> {
        match operator {
            operators::LOGICAL_NOT => self.operand(of, Kinds::BOOL, "`!`"),
            operators::NEGATE => self.operand(of, Kinds::INT | Kinds::DOUBLE, "`-`"),
            _ => Err(self.unknown(expression, operator)),
        }
    }

    fn binary(
        &mut self,
        expression: &'c IdedExpr,
        operator: &str,
        left: &'c IdedExpr,
        right: &'c IdedExpr,
    ) -> Result<Kinds, AudienceError> {
        let sign = operator.trim_matches('_');
        let named = format!("`{sign}`");
        let ordered = Kinds::BOOL | Kinds::NUMBER | Kinds::STRING | Kinds::BYTES;
        let (taken, is_comparison) = match operator {
            operators::LOGICAL_AND | operators::LOGICAL_OR => {
                self.operand(left, Kinds::BOOL, &named)?;
                return self.operand(right, Kinds::BOOL, &named);
            }
            operators::IN => {
                self.kinds(left)?;
                let kinds = self.kinds(right)?;
                if !kinds.may_be(Kinds::LIST | Kinds::MAP) {
                    let problem = format!("`in` looks into a list or map, this is {kinds}");
                    let hint = match &right.expr {
                        Expr::Literal(_) => ", put it in square brackets",
                        _ => "",
                    };
                    return Err(self.mistyped(right, problem + hint));
                }
                return Ok(Kinds::BOOL);
            }
            operators::INDEX => {
                let of = self.operand(left, Kinds::LIST | Kinds::MAP, "`[ ]`")?;
                let index = if of == Kinds::LIST {
                    Kinds::NUMBER
                } else {
                    Kinds::KEY | Kinds::NUMBER
                };
                self.operand(right, index, "an index")?;
                return Ok(Kinds::ANY);
            }
            operators::EQUALS | operators::NOT_EQUALS => (Kinds::ANY, true),
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
                (ordered, true)
            }
            operators::ADD => (Kinds::NUMBER | Kinds::STRING | Kinds::BYTES | Kinds::LIST, false),
            operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE => (Kinds::NUMBER, false),
            operators::MODULO => (Kinds::INT | Kinds::UINT, false),
            _ => return Err(self.unknown(expression, operator)),
        };
        let (left_kinds, right_kinds) = (
            self.operand(left, taken, &named)?,
            self.operand(right, taken, &named)?,
        );
        if is_comparison && !left_kinds.compared().may_be(right_kinds) {
            let never = match operator {
                operators::EQUALS | operators::NOT_EQUALS => "which are never equal",
                _ => "which have no order",
            };
            let problem = format!("{named} compares {left_kinds} with {right_kinds}, {never}");
            return Err(self.mistyped(expression, problem));
        }
        let both = left_kinds & right_kinds;
        match (is_comparison, both == Kinds(0)) {
            (true, _) => Ok(Kinds::BOOL),
            (false, true) => {
                let problem = format!("{named} cannot take {left_kinds} and {right_kinds} together");
                Err(self.mistyped(expression, problem))
            }
            (false, false) => Ok(both),
        }
    }

    /// The kinds of a part, left to those that `by` takes.
    fn operand(&mut self, expression: &'c IdedExpr, taken: Kinds, by: &str) -> Result<Kinds, AudienceError> {
        let kinds = self.kinds(expression)?;
        if kinds.may_be(taken) {
            Ok(kinds & taken)
        } else {
            Err(self.mistyped(expression, format!("{by} takes {taken}, this is {kinds}")))
        }
    }

    fn call(&mut self, expression: &'c IdedExpr, call: &'c CallExpr) -> Result<Kinds, AudienceError> {
        let name = call.func_name.as_str();
        let Some(known) = FUNCTIONS.iter().find(|function| function.name == name) else {
            return Err(self.unknown(expression, name));
        };
        let given = call.args.len();
        let limits = match call.target {
            Some(_) => known.member,
            None => known.global.map(|count| (count, count)),
        };
        let problem = match limits {
            None => Some(format!("`{name}` is written {}", known.example)),
            Some((least, most)) if !(least..=most).contains(&given) => {
                let count = if least == most {
                    most.to_string()
                } else {
                    format!("{least} or {most}")
                };
                let noun = if most == 1 { "argument" } else { "arguments" };
                Some(format!(
                    "`{name}` takes {count} {noun}, not {given}: {}",
                    known.example
                ))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            return Err(self.misused(expression, name, problem));
        }
        let named = format!("`{name}`");
        let sized = Kinds::LIST | Kinds::MAP | Kinds::STRING | Kinds::BYTES;
        match (name, call.target.as_deref(), call.args.as_slice()) {
            (HAS, _, [of]) => match direct::names(of) {
                Some(_) => self.kinds(of).map(|_| Kinds::BOOL),
                None => {
                    let problem = "`has` asks for an attribute or a field: has(plan), has(user.plan)";
                    Err(self.misused(expression, name, problem.to_owned()))
                }
            },
            ("size", Some(of), []) | ("size", None, [of]) => {
                self.operand(of, sized, &named).map(|_| Kinds::INT)
            }
            ("startsWith" | "endsWith" | "contains", Some(of), [pattern]) => {
                self.operand(of, Kinds::STRING, &named)?;
                self.operand(pattern, Kinds::STRING, &named)?;
                Ok(Kinds::BOOL)
            }
            ("bool", _, [of]) => self.convert(of, Kinds::BOOL | Kinds::STRING, Kinds::BOOL, &named),
            ("int", _, [of]) => self.convert(of, Kinds::NUMBER | Kinds::STRING, Kinds::INT, &named),
            ("uint", _, [of]) => self.convert(of, Kinds::NUMBER | Kinds::STRING, Kinds::UINT, &named),
            ("double", _, [of]) => self.convert(of, Kinds::NUMBER | Kinds::STRING, Kinds::DOUBLE, &named),
            ("string", _, [of]) => {
                let taken = Kinds::BOOL | Kinds::NUMBER | Kinds::STRING | Kinds::BYTES;
                self.convert(of, taken, Kinds::STRING, &named)
            }
            ("bytes", _, [of]) => self.convert(of, Kinds::STRING | Kinds::BYTES, Kinds::BYTES, &named),
            ("dyn", _, [of]) => self.kinds(of),
            (_, Some(over), [variable, body @ ..]) if LOOPS.contains(&name) => {
                self.a_loop(expression, name, over, variable, body)
            }
            _ => Err(self.unknown(expression, name)),
        }
    }

    fn convert(
        &mut self,
        of: &'c IdedExpr,
        taken: Kinds,
        made: Kinds,
        by: &str,
    ) -> Result<Kinds, AudienceError> {
        self.operand(of, taken, by).map(|_| made)
    }

    fn a_loop(
        &mut self,
        expression: &'c IdedExpr,
        name: &str,
        over: &'c IdedExpr,
        variable: &'c IdedExpr,
        body: &'c [IdedExpr],
    ) -> Result<Kinds, AudienceError> {
        if self.bound.is_some() {
            return Err(AudienceError::TooCostly {
                place: self.call_place(expression, name),
                problem: format!("`{name}` inside another loop is not allowed, its cost could be anything"),
            });
        }
        self.operand(over, Kinds::LIST | Kinds::MAP, &format!("`{name}`"))?;
        let Expr::Ident(variable) = &variable.expr else {
            let problem = format!("the first argument of `{name}` is a name for each element");
            return Err(self.misused(variable, "", problem));
        };
        self.bound = Some(variable);
        let is_map = name == "map";
        for (at, part) in body.iter().enumerate() {
            if is_map && at + 1 == body.len() {
                self.kinds(part)?;
            } else {
                self.operand(part, Kinds::BOOL, &format!("the condition of `{name}`"))?;
            }
        }
        self.bound = None;
        Ok(if is_map || name == "filter" {
            Kinds::LIST
        } else {
            Kinds::BOOL
        })
    }

    fn place(&self, expression: &IdedExpr) -> Place {
        let offset = self
            .places
            .offset_for(expression.id)
            .map_or(0, |(start, _)| start);
        Place::of(self.source, usize::try_from(offset).unwrap_or(0))
    }

    /// Calls are placed at their bracket; a person looks for the name before it.
    fn call_place(&self, expression: &IdedExpr, name: &str) -> Place {
        let offset = self
            .places
            .offset_for(expression.id)
            .map_or(0, |(start, _)| start);
        let offset = usize::try_from(offset).unwrap_or(0);
        let before = self.source.get(..offset).unwrap_or_default();
        let start = before.trim_end().strip_suffix(name).map_or(offset, str::len);
        Place::of(self.source, start)
    }

    fn mistyped(&self, expression: &IdedExpr, problem: String) -> AudienceError {
        AudienceError::Type {
            place: self.place(expression),
            problem,
        }
    }

    fn misused(&self, expression: &IdedExpr, name: &str, problem: String) -> AudienceError {
        AudienceError::Arguments {
            place: self.call_place(expression, name),
            problem,
        }
    }

    fn unknown(&self, expression: &IdedExpr, name: &str) -> AudienceError {
        let hint = match name {
            "matches" => Some(", regular expressions are not available".to_owned()),
            "type" => Some(", types cannot be asked for".to_owned()),
            "timestamp" | "duration" => Some(", times are not available".to_owned()),
            _ => meant(name).map(|meant| format!(", did you mean `{meant}`")),
        };
        AudienceError::UnknownFunction {
            place: self.call_place(expression, name),
            name: name.to_owned(),
            hint,
        }
    }
}

/// The parser names operators with signs that no source can put into a function's name.
fn is_operator(call: &CallExpr) -> bool {
    call.func_name
        .contains(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
}

/// The function a name that does not exist is close to.
fn meant(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    if let Some((_, meant)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == lower) {
        return Some(meant);
    }
    FUNCTIONS
        .iter()
        .map(|function| {
            (
                strsim::damerau_levenshtein(&lower, &function.name.to_lowercase()),
                function.name,
            )
        })
        .filter(|(distance, _)| *distance <= (lower.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
