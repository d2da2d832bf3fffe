//! A fast reader for reviews as API servers write them, without parsing their objects.
//!
//! A review consists mostly of its two objects, and for most requests only their ends must be
//! known. Everything unusual, from an escaped name to a repeated field, returns `None` and is left
//! to the parser.
//!
//! Invariant: for a body that the parser accepts, the result is the same request or `None`.

use std::{borrow::Cow, str};

use helm_guard_core::{
    compare::json_scan::{plain_end, value_end, value_end_beside},
    guard::{Kind, Operation, Options, Parts, Raw, Request, Resource, UserInfo},
};

use super::{API_VERSION, KIND};

/// The request, if the body is as API servers write it.
pub(super) fn read(body: &[u8]) -> Option<Request<'_>> {
    let mut cursor = Cursor {
        text: str::from_utf8(body).ok()?,
        at: 0,
    };
    let (mut version, mut kind, mut request) = (None, None, None);
    cursor.members(|name, cursor| match name {
        "apiVersion" => set(&mut version, cursor.text()?),
        "kind" => set(&mut kind, cursor.text()?),
        "request" => set(&mut request, self::request(cursor)?),
        _ => cursor.value().map(drop),
    })?;
    let is_review = version? == API_VERSION && kind? == KIND && cursor.sign().is_none();
    request.filter(|request| is_review && !request.uid.is_empty())
}

fn request<'a>(cursor: &mut Cursor<'a>) -> Option<Request<'a>> {
    let (mut uid, mut operation) = (None, None);
    let (mut kind, mut resource, mut request_kind) = (None, None, None);
    let (mut sub_resource, mut name, mut namespace) = (None, None, None);
    let (mut user_info, mut options, mut dry_run) = (None, None, None);
    let (mut object, mut old_object) = (None, None);
    cursor.members(|field, cursor| match field {
        "uid" => set(&mut uid, cursor.text()?),
        "kind" => set(&mut kind, self::kind(cursor)?),
        "resource" => set(&mut resource, self::resource(cursor)?),
        "requestKind" => set(&mut request_kind, self::kind(cursor)?),
        "subResource" => set(&mut sub_resource, cursor.text()?),
        "name" => set(&mut name, cursor.text()?),
        "namespace" => set(&mut namespace, cursor.text()?),
        "operation" => set(&mut operation, Operation::of(&cursor.text()?)),
        "userInfo" => set(&mut user_info, user(cursor)?),
        "object" => set(&mut object, cursor.object(&[])?),
        "oldObject" => {
            let other_parts = object.as_ref().map_or(&[][..], |(_, parts)| parts);
            let found = cursor.object(other_parts)?;
            set(&mut old_object, found)
        }
        "dryRun" => set(&mut dry_run, flag(cursor.value()?)?),
        // Short, and of three kinds: left to the parser.
        "options" => set(
            &mut options,
            serde_json::from_str::<Option<Options<'_>>>(cursor.value()?).ok()?,
        ),
        _ => cursor.value().map(drop),
    })?;
    let (object, new_parts) = object.unwrap_or_default();
    let (old_object, old_parts) = old_object.unwrap_or_default();
    Some(Request {
        uid: uid?,
        kind: kind.unwrap_or_default(),
        resource: resource.unwrap_or_default(),
        request_kind,
        sub_resource: sub_resource.unwrap_or_default(),
        name: name.unwrap_or_default(),
        namespace: namespace.unwrap_or_default(),
        operation: operation?,
        user_info: user_info.unwrap_or_default(),
        object,
        old_object,
        dry_run: dry_run.unwrap_or_default(),
        options: options.flatten(),
        unread: None,
        parts: Parts {
            object: new_parts,
            old_object: old_parts,
        },
    })
}

fn kind<'a>(cursor: &mut Cursor<'a>) -> Option<Kind<'a>> {
    let (mut group, mut version, mut kind) = (None, None, None);
    cursor.members(|name, cursor| match name {
        "group" => set(&mut group, cursor.text()?),
        "version" => set(&mut version, cursor.text()?),
        "kind" => set(&mut kind, cursor.text()?),
        _ => cursor.value().map(drop),
    })?;
    Some(Kind {
        group: group.unwrap_or_default(),
        version: version.unwrap_or_default(),
        kind: kind.unwrap_or_default(),
    })
}

fn resource<'a>(cursor: &mut Cursor<'a>) -> Option<Resource<'a>> {
    let (mut group, mut version, mut resource) = (None, None, None);
    cursor.members(|name, cursor| match name {
        "group" => set(&mut group, cursor.text()?),
        "version" => set(&mut version, cursor.text()?),
        "resource" => set(&mut resource, cursor.text()?),
        _ => cursor.value().map(drop),
    })?;
    Some(Resource {
        group: group.unwrap_or_default(),
        version: version.unwrap_or_default(),
        resource: resource.unwrap_or_default(),
    })
}

fn user<'a>(cursor: &mut Cursor<'a>) -> Option<UserInfo<'a>> {
    let (mut username, mut groups, mut extra) = (None, None, None);
    cursor.members(|name, cursor| match name {
        "username" => set(&mut username, cursor.text()?),
        "groups" => set(&mut groups, cursor.texts()?),
        "extra" => set(&mut extra, cursor.object(&[])?),
        _ => cursor.value().map(drop),
    })?;
    let (extra, _) = extra.unwrap_or_default();
    Some(UserInfo {
        username: username.unwrap_or_default(),
        groups: groups.unwrap_or_default(),
        extra,
    })
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// `None` for a repeated field.
fn set<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// Moves through a text from value to value.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is not a space, if any.
    fn sign(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let blanks = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r'));
        self.at += blanks.count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, sign: u8) -> Option<()> {
        (self.sign()? == sign).then(|| self.at += 1)
    }

    /// Calls `take` with each field of the object that comes next, at its value.
    fn members(&mut self, mut take: impl FnMut(&'a str, &mut Self) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.sign()? == b'}' {
            return self.take(b'}');
        }
        loop {
            let name = self.plain()?;
            self.take(b':')?;
            take(name, self)?;
            match self.sign()? {
                b',' => self.at += 1,
                _ => return self.take(b'}'),
            }
        }
    }

    /// The text of the next value.
    fn value(&mut self) -> Option<&'a str> {
        self.sign()?;
        let start = self.at;
        self.at = value_end(self.text.as_bytes(), start)?;
        self.text.get(start..self.at)
    }

    /// The object that comes next, or null, and its names and values by turns. The second object
    /// mostly equals the first: parts that it shares with the first one, which are in
    /// `other_parts`, are not scanned again.
    fn object(&mut self, other_parts: &[&str]) -> Option<(Option<Raw<'a>>, Vec<&'a str>)> {
        if self.sign()? != b'{' {
            return (self.value()? == "null").then_some((None, Vec::new()));
        }
        let start = self.at;
        let mut parts = Vec::with_capacity(16);
        self.members(|name, cursor| {
            parts.push(name);
            let other = other_parts.get(parts.len()).copied().unwrap_or_default();
            cursor.sign()?;
            let start = cursor.at;
            cursor.at = value_end_beside(cursor.text.as_bytes(), start, other)?;
            parts.push(cursor.text.get(start..cursor.at)?);
            Some(())
        })?;
        let text = self.text.get(start..self.at)?;
        Some((Some(Raw::of(text)), parts))
    }

    /// The next string, if it has no escapes.
    fn plain(&mut self) -> Option<&'a str> {
        if self.sign()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        self.at = plain_end(self.text.as_bytes(), self.at)?;
        self.text.get(start..self.at - 1)
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.plain().map(Cow::Borrowed)
    }

    /// The next list of strings.
    fn texts(&mut self) -> Option<Vec<Cow<'a, str>>> {
        self.take(b'[')?;
        let mut texts = Vec::with_capacity(4);
        if self.sign()? == b']' {
            self.at += 1;
            return Some(texts);
        }
        loop {
            texts.push(self.text()?);
            match self.sign()? {
                b',' => self.at += 1,
                _ => return self.take(b']').map(|()| texts),
            }
        }
    }
}
