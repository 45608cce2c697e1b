//! Generated session names (contract §2): `<slug(roomName) ≤ 26>-<8 hex of sha256(roomName)>`, so that concurrent
//! starts of one room meet in one session.

use sha2::{Digest, Sha256};

const SLUG: usize = 26;
/// A DNS label of the resource (contract §1).
const LABEL: usize = 40;

/// The generated name of a room's session.
pub fn generated(room_name: &str) -> String {
    let digest = Sha256::digest(room_name.as_bytes());
    let hex: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    match slug(room_name).as_str() {
        "" => format!("room-{hex}"),
        slug => format!("{slug}-{hex}"),
    }
}

/// `name`, or `name-2`, `name-3` … the first that `taken` does not hold.
pub fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut number = 1u32;
    loop {
        let candidate = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        if !taken(&candidate) {
            return candidate;
        }
        number += 1;
    }
}

/// Is it a DNS label of at most 40 characters?
pub fn is_label(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty()
        && name.len() <= LABEL
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
        && name.bytes().next().is_some_and(plain)
        && name.bytes().last().is_some_and(plain)
}

fn slug(room_name: &str) -> String {
    let mut slug = String::new();
    for character in room_name.chars().flat_map(char::to_lowercase) {
        if slug.len() >= SLUG {
            break;
        }
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_is_a_label_for_any_room_name() {
        for room in ["standup", "Team Ångström / 2026!", "комната", "---", "", &"x".repeat(300)] {
            assert!(is_label(&generated(room)), "{room:?} gave {:?}", generated(room));
        }
    }

    #[test]
    fn rooms_that_differ_only_in_what_a_slug_drops_get_different_names() {
        assert_ne!(generated("a b"), generated("a_b"));
    }

    #[test]
    fn a_name_in_use_gets_the_next_free_number() {
        assert_eq!(free("standup", |name| matches!(name, "standup" | "standup-2")), "standup-3");
    }
}
