//! Names of folders for whatever somebody has called a model.
//!
//! Each name has one folder and each folder is of one name, on file systems that tell upper case from
//! lower case as on those that do not: `a` to `z`, digits, `-`, `_` and a `.` within the name stand for
//! themselves; an upper-case letter is `!` and the lower-case one (as in Go's module cache); every
//! other byte is `%` and two hexadecimal digits. A name too long for a file system is its beginning,
//! `%+` and its SHA-256; no other name has `%+` in it.

use std::fmt::Write as _;

use crate::fetch::sha256;

/// The longest name that is written out; file systems allow 255 bytes.
const LONGEST: usize = 200;
const BEGINNING: usize = 100;

/// Returns the name of the folder for a name.
pub(super) fn encode(name: &str) -> String {
    let whole = plain(name);
    if whole.len() <= LONGEST {
        return whole;
    }
    format!("{}%+{}", &whole[..BEGINNING], sha256(name.as_bytes()))
}

fn plain(name: &str) -> String {
    if name.is_empty() {
        return "%-".to_owned();
    }
    let mut folder = String::new();
    for (at, byte) in name.bytes().enumerate() {
        let c = char::from(byte);
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => folder.push(c),
            b'.' if at > 0 && at + 1 < name.len() => folder.push(c),
            b'A'..=b'Z' => folder.extend(['!', c.to_ascii_lowercase()]),
            _ => write!(folder, "%{byte:02x}").expect("writing to a string cannot fail"),
        }
    }
    folder
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    /// Reads a name back; long ones cannot be.
    fn decode(folder: &str) -> Option<String> {
        if folder == "%-" {
            return Some(String::new());
        }
        let mut bytes = Vec::new();
        let mut rest = folder.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'!' => {
                    bytes.push(rest.first()?.to_ascii_uppercase());
                    rest = &rest[1..];
                }
                b'%' => {
                    let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                    bytes.push(u8::from_str_radix(digits, 16).ok()?);
                    rest = &rest[2..];
                }
                _ => bytes.push(first),
            }
        }
        String::from_utf8(bytes).ok()
    }

    #[test]
    fn names_are_written_as_people_can_read_them() {
        let cases = [
            ("surface", "surface"),
            ("Surface-v1.2", "!surface-v1.2"),
            ("a b/c", "a%20b%2fc"),
            ("..", "%2e%2e"),
            (".staging", "%2estaging"),
            ("", "%-"),
            ("ä", "%c3%a4"),
        ];
        for (name, folder) in cases {
            assert_eq!(encode(name), folder, "{name}");
        }
    }

    #[test]
    fn long_names_that_begin_alike_have_folders_of_their_own() {
        let [one, other] = ["1", "2"].map(|end| encode(&("X".repeat(300) + end)));
        assert_ne!(one, other);
        assert!(one.len() <= LONGEST && one.starts_with("!x!x"), "{one}");
    }

    proptest! {
        #[test]
        fn every_name_has_one_safe_folder_and_is_read_back_from_it(
            name in prop_oneof![any::<String>(), "[A-Za-z.%!/~+ -]{0,40}", "[a-z]{150,300}"],
        ) {
            let folder = encode(&name);
            prop_assert!(folder.len() <= LONGEST);
            prop_assert!(!folder.starts_with('.'));
            prop_assert_eq!(&folder.to_lowercase(), &folder);
            let parts: Vec<_> = Path::new(&folder).components().collect();
            prop_assert!(matches!(parts[..], [Component::Normal(part)] if part == &*folder));
            if !folder.contains("%+") {
                prop_assert_eq!(decode(&folder), Some(name));
            }
        }

        #[test]
        fn two_names_never_share_a_folder(
            one in "[aA.%!/+-]{0,6}", other in "[aA.%!/+-]{0,6}",
        ) {
            prop_assert_eq!(one == other, encode(&one) == encode(&other));
        }
    }
}
