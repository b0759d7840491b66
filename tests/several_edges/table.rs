//! What Redis holds, and the few commands that the scripts use, for scripts that run in a real Lua 5.1.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Function, Lua, Value, Variadic};

/// A hash of Redis.
pub type Hash = BTreeMap<Vec<u8>, Vec<u8>>;

/// What Redis holds.
#[derive(Clone, Default)]
pub struct Table {
    hashes: BTreeMap<Vec<u8>, Hash>,
    texts: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The log: numbers that rise, and entries.
    pub log: Vec<(u64, Vec<u8>)>,
    /// Tells this run of the server from others.
    run: u32,
    /// Goes on after everything is gone, as the time of day does.
    last: u64,
}

impl Table {
    /// One hash.
    pub fn hash(&self, key: &str) -> Hash {
        self.hashes.get(key.as_bytes()).cloned().unwrap_or_default()
    }

    /// One text.
    pub fn text(&self, key: &str) -> Option<&[u8]> {
        self.texts.get(key.as_bytes()).map(Vec::as_slice)
    }

    /// FLUSHALL.
    pub fn flush(&mut self) {
        *self = Table { last: self.last, run: self.run, ..Table::default() };
    }

    /// The server starts again, with what it holds.
    pub fn start_again(&mut self, held: Table) {
        *self = Table { last: self.last, run: self.run + 1, ..held };
    }

    /// What kind of thing stands at a key.
    fn kind(&self, key: &[u8]) -> &'static str {
        match () {
            () if self.hashes.get(key).is_some_and(|hash| !hash.is_empty()) => "hash",
            () if self.texts.contains_key(key) => "string",
            () if key == b"log" && !self.log.is_empty() => "stream",
            () => "none",
        }
    }

    /// Takes a field out of a hash.
    pub fn delete(&mut self, key: &str, field: &str) {
        self.hashes.get_mut(key.as_bytes()).map(|hash| hash.remove(field.as_bytes()));
    }

    fn command(&mut self, name: &str, args: &[Vec<u8>]) -> Reply {
        match (name, &args[1..]) {
            ("TYPE", []) => return Reply::Status(self.kind(&args[0])),
            ("INFO", []) => {
                return Reply::Text(format!("redis_version:7.0\r\nrun_id:{:040x}\r\n", self.run).into_bytes());
            }
            ("UNLINK", _) => {
                args.iter().for_each(|key| drop((self.hashes.remove(key), self.texts.remove(key))));
                return Reply::Number(args.len() as i64);
            }
            ("XREVRANGE", [_, _, _, _]) => {
                return Reply::Places(self.log.last().map(|(number, _)| place(*number).into_bytes()));
            }
            _ => {}
        }
        let hash = self.hashes.entry(args[0].clone()).or_default();
        match (name, &args[1..]) {
            ("HVALS", []) => Reply::List(hash.values().cloned().collect()),
            ("HGET", [field]) => hash.get(field).cloned().map_or(Reply::Nil, Reply::Text),
            ("HEXISTS", [field]) => Reply::Number(i64::from(hash.contains_key(field))),
            ("HGETALL", []) => {
                Reply::List(hash.iter().flat_map(|(field, value)| [field.clone(), value.clone()]).collect())
            }
            ("HSET", [field, value]) => Reply::Number(i64::from(hash.insert(field.clone(), value.clone()).is_none())),
            ("HSETNX", [field, value]) => {
                let is_new = !hash.contains_key(field);
                hash.entry(field.clone()).or_insert_with(|| value.clone());
                Reply::Number(i64::from(is_new))
            }
            ("HDEL", [field]) => Reply::Number(i64::from(hash.remove(field).is_some())),
            ("HINCRBY", [field, by]) => {
                let sum = hash.get(field).map_or(0, |value| integer(value)) + integer(by);
                hash.insert(field.clone(), sum.to_string().into_bytes());
                Reply::Number(sum)
            }
            ("GET", []) => self.texts.get(&args[0]).cloned().map_or(Reply::Nil, Reply::Text),
            ("SET", [value]) => {
                self.texts.insert(args[0].clone(), value.clone());
                Reply::Text(b"OK".to_vec())
            }
            ("EXPIRE", [_]) => Reply::Number(1),
            ("XADD", [maxlen, about, most, star, field, value])
                if [&maxlen[..], about, star, field] == [&b"MAXLEN"[..], b"~", b"*", b"e"] =>
            {
                self.last += 1;
                self.log.push((self.last, value.clone()));
                let more = self.log.len().saturating_sub(integer(most) as usize);
                self.log.drain(..more);
                Reply::Text(place(self.last).into_bytes())
            }
            _ => panic!("a script says {name}, which is not played: {args:?}"),
        }
    }
}

/// A place in the log, as it is written.
pub fn place(number: u64) -> String {
    format!("{number}-0")
}

enum Reply {
    Nil,
    Status(&'static str),
    /// The place of at most one entry of the log.
    Places(Option<Vec<u8>>),
    Text(Vec<u8>),
    Number(i64),
    List(Vec<Vec<u8>>),
}

fn integer(octets: &[u8]) -> i64 {
    std::str::from_utf8(octets).ok().and_then(|text| text.parse().ok()).expect("a script counts with numbers")
}

/// The scripts of the shared store, compiled.
pub struct Scripts {
    lua: Lua,
    pub seat: Function,
    pub gate: Function,
    pub tell: Function,
    pub beat: Function,
}

impl Scripts {
    /// Over what Redis holds.
    pub fn new(table: &Rc<RefCell<Table>>) -> mlua::Result<Self> {
        let lua = Lua::new();
        let table = Rc::clone(table);
        let call = lua.create_function(move |lua, args: Variadic<Value>| {
            let octets: Vec<Vec<u8>> = args.iter().map(octets_of).collect();
            let name = String::from_utf8_lossy(&octets[0]).into_owned();
            let reply = table.borrow_mut().command(&name, &octets[1..]);
            value_of(lua, reply)
        })?;
        let redis = lua.create_table()?;
        redis.set("pcall", call.clone())?;
        redis.set("call", call)?;
        lua.globals().set("redis", redis)?;
        let script = |text: &str| lua.load(text).into_function();
        let seat = script(include_str!("../../src/store/scripts/seat.lua"))?;
        let gate = script(include_str!("../../src/store/scripts/gate.lua"))?;
        let tell = script(include_str!("../../src/store/scripts/tell.lua"))?;
        let beat = script(include_str!("../../src/store/scripts/beat.lua"))?;
        Ok(Scripts { lua, seat, gate, tell, beat })
    }

    /// Runs one.
    pub fn run(&self, script: &Function, keys: &[&str], args: &[Vec<u8>]) -> Value {
        let run = || -> mlua::Result<Value> {
            self.lua.globals().set("KEYS", self.lua.create_sequence_from(keys.iter().copied())?)?;
            let args: mlua::Result<Vec<_>> = args.iter().map(|arg| self.lua.create_string(arg)).collect();
            self.lua.globals().set("ARGV", self.lua.create_sequence_from(args?)?)?;
            script.call(())
        };
        run().unwrap_or_else(|error| panic!("a script failed: {error}"))
    }
}

/// What a script hands to a command: numbers become text, as Redis does it.
pub fn octets_of(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(number) => number.to_string().into_bytes(),
        Value::Number(number) => number.to_string().into_bytes(),
        _ => panic!("a script hands {value:?} to a command"),
    }
}

fn value_of(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    Ok(match reply {
        Reply::Nil => Value::Boolean(false),
        Reply::Status(text) => {
            let status = lua.create_table()?;
            status.set("ok", text)?;
            Value::Table(status)
        }
        Reply::Places(place) => {
            let entries = lua.create_table()?;
            if let Some(place) = place {
                entries.push(lua.create_sequence_from([lua.create_string(place)?])?)?;
            }
            Value::Table(entries)
        }
        Reply::Text(octets) => Value::String(lua.create_string(octets)?),
        Reply::Number(number) => Value::Number(number as f64),
        Reply::List(list) => {
            let texts: mlua::Result<Vec<_>> = list.iter().map(|octets| lua.create_string(octets)).collect();
            Value::Table(lua.create_sequence_from(texts?)?)
        }
    })
}
