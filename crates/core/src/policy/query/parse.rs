//! Parses an expression: tokens first, then stages and conditions.

use regex::RegexBuilder;
use serde_json::{Deserializer, Value};

use super::{Condition, Pipeline, Stage, Test};

/// The deepest nesting of parentheses: more than anyone writes. The parser is recursive.
const DEPTH: usize = 16;

const EXPRESSION_BYTES: usize = 64 << 10;

/// Why an expression is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A construct that may not terminate, or does not select.
    #[error(
        "{0:?} is not supported: only fields, items, [] and select() with comparisons are, because \
         they always end"
    )]
    Unknown(String),
    /// Unexpected end.
    #[error("it ends too early")]
    End,
    /// A string without its closing quote.
    #[error("a string does not end")]
    Text,
    /// Too many parentheses.
    #[error("more than {DEPTH} parentheses within each other")]
    Deep,
    /// `test("…")`
    #[error("{0:?} is not a regular expression")]
    Expression(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Word {
    Sign(&'static str),
    Name(String),
    Literal(Value),
}

/// Longer ones first.
const SIGNS: [&str; 12] = [
    "..", "==", "!=", ".", "[", "]", "(", ")", "|", ",", "?", ";",
];

fn words(text: &str) -> Result<Vec<Word>, QueryError> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length;
        if first.is_ascii_digit() {
            let is_inside = |char: char| char.is_ascii_digit() || char == '.';
            length = rest.find(|char| !is_inside(char)).unwrap_or(rest.len());
            let number = rest.get(..length).unwrap_or_default();
            let value = serde_json::from_str(number);
            words.push(Word::Literal(
                value.map_err(|_| QueryError::Unknown(number.to_owned()))?,
            ));
        } else if first == '"' {
            let mut values = Deserializer::from_str(rest).into_iter::<Value>();
            let value = values.next().and_then(Result::ok).ok_or(QueryError::Text)?;
            length = values.byte_offset();
            words.push(Word::Literal(value));
        } else if first.is_ascii_alphabetic() || first == '_' {
            let is_inside = |char: char| char.is_ascii_alphanumeric() || char == '_';
            length = rest.find(|char| !is_inside(char)).unwrap_or(rest.len());
            let name = rest.get(..length).unwrap_or_default();
            words.push(match name {
                "true" => Word::Literal(Value::Bool(true)),
                "false" => Word::Literal(Value::Bool(false)),
                "null" => Word::Literal(Value::Null),
                name => Word::Name(name.to_owned()),
            });
        } else {
            // Unknown signs are rejected later, like any other unsupported word.
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            length = sign.map_or(first.len_utf8(), |sign| sign.len());
            words.push(match sign {
                Some(sign) => Word::Sign(sign),
                None => Word::Name(first.to_string()),
            });
        }
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(words)
}

/// The stages that an expression has, one list for each of its alternatives.
pub(super) fn query(text: &str) -> Result<Vec<Pipeline>, QueryError> {
    let mut reader = Reader {
        words: words(text)?,
        at: 0,
        depth: 0,
    };
    let mut alternatives = vec![reader.pipeline()?];
    while reader.takes(",") {
        alternatives.push(reader.pipeline()?);
    }
    match reader.next() {
        None => Ok(alternatives),
        Some(word) => Err(unknown(&word)),
    }
}

fn unknown(word: &Word) -> QueryError {
    QueryError::Unknown(match word {
        Word::Sign(sign) => (*sign).to_owned(),
        Word::Name(name) => name.clone(),
        Word::Literal(value) => value.to_string(),
    })
}

struct Reader {
    words: Vec<Word>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at)
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.peek().cloned();
        self.at += 1;
        word
    }

    fn is_at(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Word::Sign(next)) if *next == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_it = self.is_at(sign);
        self.at += usize::from(is_it);
        is_it
    }

    fn takes_name(&mut self, name: &str) -> bool {
        let is_it = matches!(self.peek(), Some(Word::Name(next)) if next == name);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(self.next().map_or(QueryError::End, |word| unknown(&word)))
    }

    fn pipeline(&mut self) -> Result<Pipeline, QueryError> {
        let mut stages = self.stage()?;
        while self.takes("|") {
            stages.extend(self.stage()?);
        }
        Ok(stages)
    }

    fn stage(&mut self) -> Result<Pipeline, QueryError> {
        if !self.takes_name("select") {
            return self.steps();
        }
        self.expect("(")?;
        let condition = self.condition()?;
        self.expect(")")?;
        Ok(vec![Stage::Select(condition)])
    }

    /// `.a.b[]["c"]`
    fn steps(&mut self) -> Result<Pipeline, QueryError> {
        match self.next() {
            Some(Word::Sign(".")) => {}
            Some(word) => return Err(unknown(&word)),
            None => return Err(QueryError::End),
        }
        let mut stages = Vec::new();
        stages.extend(self.field()?);
        loop {
            if self.takes("?") {
                continue;
            }
            if self.takes("[") {
                stages.push(self.bracket()?);
            } else if self.takes(".") {
                match self.field()? {
                    Some(field) => stages.push(field),
                    // `.a.[0]` is `.a[0]`.
                    None if self.is_at("[") => {}
                    None => {
                        return Err(self.next().map_or(QueryError::End, |word| unknown(&word)));
                    }
                }
            } else {
                return Ok(stages);
            }
        }
    }

    fn field(&mut self) -> Result<Option<Stage>, QueryError> {
        let name = match self.peek() {
            Some(Word::Name(name) | Word::Literal(Value::String(name))) => name.clone(),
            // After a dot, keywords are names of fields.
            Some(Word::Literal(word @ (Value::Bool(_) | Value::Null))) => word.to_string(),
            Some(word @ Word::Literal(_)) => return Err(unknown(word)),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(Stage::Field(name)))
    }

    fn bracket(&mut self) -> Result<Stage, QueryError> {
        if self.takes("]") {
            return Ok(Stage::Each);
        }
        let stage = match self.next() {
            Some(Word::Literal(Value::String(name))) => Stage::Field(name),
            Some(Word::Literal(Value::Number(number))) => {
                let index = number
                    .as_u64()
                    .and_then(|index| usize::try_from(index).ok());
                Stage::Index(index.ok_or_else(|| QueryError::Unknown(number.to_string()))?)
            }
            Some(word) => return Err(unknown(&word)),
            None => return Err(QueryError::End),
        };
        self.expect("]")?;
        Ok(stage)
    }

    fn condition(&mut self) -> Result<Condition, QueryError> {
        if self.depth >= DEPTH {
            return Err(QueryError::Deep);
        }
        self.depth += 1;
        let mut any = vec![self.all()?];
        while self.takes_name("or") {
            any.push(self.all()?);
        }
        self.depth -= 1;
        let condition = Condition::Any(any);
        // `… | not` applies to everything before it.
        if self.is_at("|") && self.words.get(self.at + 1) == Some(&Word::Name("not".to_owned())) {
            self.at += 2;
            return Ok(Condition::Not(Box::new(condition)));
        }
        Ok(condition)
    }

    fn all(&mut self) -> Result<Condition, QueryError> {
        let mut all = vec![self.term()?];
        while self.takes_name("and") {
            all.push(self.term()?);
        }
        Ok(Condition::All(all))
    }

    fn term(&mut self) -> Result<Condition, QueryError> {
        if self.takes("(") {
            let inside = self.condition()?;
            self.expect(")")?;
            return Ok(inside);
        }
        if matches!(self.peek(), Some(Word::Name(_))) {
            return Ok(Condition::Test(Vec::new(), self.call()?));
        }
        let mut stages = self.steps()?;
        loop {
            if self.takes("==") {
                return Ok(Condition::Test(stages, Test::Equals(self.literal()?)));
            }
            if self.takes("!=") {
                return Ok(Condition::Test(stages, Test::Differs(self.literal()?)));
            }
            let next = self.words.get(self.at + 1);
            match (self.is_at("|"), next) {
                (true, Some(Word::Name(name))) if name != "not" => {
                    self.at += 1;
                    return Ok(Condition::Test(stages, self.call()?));
                }
                (true, Some(Word::Sign("."))) => {
                    self.at += 1;
                    stages.extend(self.steps()?);
                }
                _ => return Ok(Condition::Test(stages, Test::IsTrue)),
            }
        }
    }

    fn call(&mut self) -> Result<Test, QueryError> {
        let Some(Word::Name(name)) = self.next() else {
            return Err(QueryError::End);
        };
        if !matches!(
            name.as_str(),
            "startswith" | "endswith" | "contains" | "test" | "has"
        ) {
            return Err(QueryError::Unknown(name));
        }
        self.expect("(")?;
        let text = match self.literal()? {
            Value::String(text) => text,
            other => return Err(QueryError::Unknown(other.to_string())),
        };
        self.expect(")")?;
        Ok(match name.as_str() {
            "startswith" => Test::StartsWith(text),
            "endswith" => Test::EndsWith(text),
            "contains" => Test::Contains(text),
            "has" => Test::Has(text),
            _ => {
                let expression = RegexBuilder::new(&text)
                    .size_limit(EXPRESSION_BYTES)
                    .build();
                Test::Matches(expression.map_err(|_| QueryError::Expression(text))?)
            }
        })
    }

    fn literal(&mut self) -> Result<Value, QueryError> {
        match self.next() {
            Some(Word::Literal(value)) => Ok(value),
            Some(word) => Err(unknown(&word)),
            None => Err(QueryError::End),
        }
    }
}
