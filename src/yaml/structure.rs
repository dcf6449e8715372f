//! Refusal of duplicate keys, tags, deep nesting and alias bombs, which YAML itself allows.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Nesting limit of mappings and sequences.
const DEPTH_LIMIT: usize = 16;

/// Refuse a text that is not one structurally valid document.
pub(super) fn check_structure(text: &str) -> Result<(), serde_yaml::Error> {
    // Without aliases, a value takes at least a byte: a document with more values than bytes is a bomb.
    let mut left = text.len().saturating_add(1);
    StructureCheck { depth: DEPTH_LIMIT, left: &mut left }
        .deserialize(serde_yaml::Deserializer::from_str(text))
}

/// Visitor that accepts a structurally valid document.
struct StructureCheck<'a> {
    /// Levels of nesting still allowed.
    depth: usize,
    /// Values still allowed.
    left: &'a mut usize,
}

impl StructureCheck<'_> {
    fn inner(&mut self) -> StructureCheck<'_> {
        StructureCheck { depth: self.depth.saturating_sub(1), left: self.left }
    }

    fn check_depth<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth == 0 { Err(E::custom("the values are nested too deeply")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for StructureCheck<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.left.checked_sub(1) {
            Some(left) => *self.left = left,
            None => return Err(D::Error::custom("its aliases expand to more values than the file can hold")),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StructureCheck<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            }
            seen.insert(key);
            map.next_value_seed(self.inner())?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        self.check_depth()?;
        while sequence.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u128<E>(self, _: u128) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
