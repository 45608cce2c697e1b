//! Word error rate, as the demo's acceptance counts it: lower case, no punctuation, numbers as words.

#![allow(dead_code, reason = "each user takes its own part")]

const ONES: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: &[&str] = &["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// The words that are compared.
pub(crate) fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace(['\'', '’'], "");
    // A comma or colon inside a number belongs to it: 42,000.
    let joined: String = {
        let chars: Vec<char> = text.chars().collect();
        let digit = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(char::is_ascii_digit);
        let keep = |(i, c): (usize, &char)| match c {
            ',' if digit(i.checked_sub(1)) && digit(Some(i + 1)) => None,
            c if c.is_alphanumeric() => Some(*c),
            _ => Some(' '),
        };
        chars.iter().enumerate().filter_map(keep).collect()
    };
    joined.split_whitespace().flat_map(number_words).collect()
}

fn number_words(word: &str) -> Vec<String> {
    let (digits, rest) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
    match (digits.parse::<u64>(), rest) {
        (Ok(n), "" | "st" | "nd" | "rd" | "th") if n < 1_000_000 => {
            let mut out = Vec::new();
            spell(n, &mut out);
            out.into_iter().map(String::from).collect()
        }
        _ => vec![word.to_owned()],
    }
}

fn spell(n: u64, out: &mut Vec<&'static str>) {
    match n {
        0..20 => out.push(ONES[n as usize]),
        20..100 => {
            out.push(TENS[(n / 10) as usize]);
            if let 1.. = n % 10 {
                out.push(ONES[(n % 10) as usize]);
            }
        }
        100..1000 => {
            out.extend([ONES[(n / 100) as usize], "hundred"]);
            if let 1.. = n % 100 {
                spell(n % 100, out);
            }
        }
        _ => {
            spell(n / 1000, out);
            out.push("thousand");
            if let 1.. = n % 1000 {
                spell(n % 1000, out);
            }
        }
    }
}

/// Substitutions, insertions and deletions per word of the reference.
pub(crate) fn wer(reference: &str, heard: &str) -> f64 {
    let (reference, heard) = (words(reference), words(heard));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in reference.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in heard.iter().enumerate() {
            let substitution = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[heard.len()] as f64 / reference.len().max(1) as f64
}
