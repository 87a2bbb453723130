//! A pass over JSON that every reader must understand alike: no duplicate keys, bounded depth.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting that is read.
pub const DEPTH_LIMIT: usize = 64;

/// Checks the syntax, the depth and the keys of a whole JSON text without building it, and counts its values.
///
/// `known` are the keys that mean something. A key that differs from one of them in letter case only is
/// refused as well: some JSON readers match keys without regard to case, and would see another document
/// than we do.
pub fn check(text: &[u8], known: &'static Known) -> Result<usize, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let values = Cell::new(0);
    Level { depth: 0, known, values: &values }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(values.get())
}

/// The keys of an object that mean something, each with those of the objects below it. A list hands its
/// own on to its elements.
#[derive(Debug)]
pub struct Known(pub &'static [(&'static str, &'static Known)]);

/// Any keys.
pub static ANY: Known = Known(&[]);

#[derive(Clone, Copy)]
struct Level<'a> {
    depth: usize,
    known: &'static Known,
    /// How many there are so far.
    values: &'a Cell<usize>,
}

impl Level<'_> {
    fn deeper<E: Error>(self, known: &'static Known) -> Result<Self, E> {
        if self.depth == DEPTH_LIMIT {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_LIMIT} levels")));
        }
        Ok(Self { depth: self.depth + 1, known, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.values.set(self.values.get() + 1);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let inner = self.deeper(self.known)?;
        while sequence.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(Key(key)) = map.next_key()? {
            let same = self.known.0.iter().find(|(known, _)| same_letters(&key, known));
            let below = match same {
                Some((known, _)) if key != *known => {
                    return Err(A::Error::custom(format_args!("key {key:?} must be written {known:?}")));
                }
                Some((_, below)) => below,
                None => &ANY,
            };
            map.next_value_seed(self.deeper(below)?)?;
            if let Some(key) = seen.replace(key) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
        }
        Ok(())
    }
}

/// Whether a reader that folds case would take the key for the known one. Two letters outside of ASCII fold
/// into it: the long s and the Kelvin sign.
fn same_letters(key: &str, known: &str) -> bool {
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(known.chars().map(fold))
}

struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A JSON object read into its type, and nothing else in its place.
///
/// serde takes a list for a structure too, member by member, which other readers do not.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Only(PhantomData)).map(Self)
    }
}

impl<T: Default> Default for Object<T> {
    fn default() -> Self {
        Self(T::default())
    }
}

struct Only<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_refused_at_every_level() {
        for bad in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"a":1,"b":2,"a":3}}]"#] {
            assert!(check(bad.as_bytes(), &ANY).unwrap_err().to_string().contains("duplicate key"), "{bad}");
        }
        assert!(check(br#"[{"a":1},{"a":{"a":1}}]"#, &ANY).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(nested(DEPTH_LIMIT).as_bytes(), &ANY).is_ok());
        assert!(check(nested(DEPTH_LIMIT + 1).as_bytes(), &ANY).is_err());
        assert!(check(nested(2_000_000).as_bytes(), &ANY).is_err());
    }

    #[test]
    fn every_value_is_counted() {
        for (text, values) in [("0", 1), ("[]", 1), ("[{},[],[[]]]", 5), (r#"{"a":"[,]","b":{"c":null}}"#, 4)]
        {
            assert_eq!(check(text.as_bytes(), &ANY).unwrap(), values, "{text}");
        }
    }

    #[test]
    fn known_keys_have_one_spelling() {
        static DESCRIPTOR: Known = Known(&[("digest", &ANY)]);
        static MANIFEST: Known = Known(&[("layers", &DESCRIPTOR), ("annotations", &ANY)]);
        assert!(check(br#"{"Layers":[]}"#, &MANIFEST).is_err());
        assert!(check("{\"layer\u{17f}\":[]}".as_bytes(), &MANIFEST).is_err());
        assert!(same_letters("bloc\u{212a}", "block") && !same_letters("layer", "layers"));
        assert!(check(br#"{"layers":[{"digest":1,"Digest":2}]}"#, &MANIFEST).is_err());
        assert!(check(br#"{"layers":[{"Layers":1}],"annotations":{"Digest":"x"}}"#, &MANIFEST).is_ok());
    }

    #[test]
    fn a_text_ends_where_its_value_ends() {
        assert!(check(b"{} {}", &ANY).is_err());
        assert!(check(b"", &ANY).is_err());
        assert!(check(b"{\"a\":\xff}", &ANY).is_err());
    }
}
