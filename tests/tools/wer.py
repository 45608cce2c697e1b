#!/usr/bin/env python3
"""Word error rate: wer.py [--max PERCENT] REFERENCE HYPOTHESIS (- = standard input). Prints the edits and the rate.

Each file is plain text, a JSON list of turns ({"text"}), or wire events, one JSON object per line, of which the finals count.
Both sides: lower case, no punctuation, numbers as words; nothing else is removed. Above `--max` the exit code is 1.
"""
import argparse
import json
import re
import sys

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen").split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
            "twelve": "twelfth"}
SIZES = ((10 ** 9, "billion"), (10 ** 6, "million"), (1000, "thousand"), (100, "hundred"))
CURRENCIES = {"$": "dollars", "€": "euros", "£": "pounds"}


def cardinal(number):
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10]] + ([ONES[number % 10]] if number % 10 else [])
    for size, name in SIZES:
        if number >= size:
            return cardinal(number // size) + [name] + (cardinal(number % size) if number % size else [])
    raise AssertionError(number)


def ordinal(number):
    words = cardinal(number)
    last = words[-1]
    words[-1] = ORDINALS.get(last, last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return words


def year(number):
    """As it is said: nineteen eighty four, eleven hundred, two thousand seven, twenty twenty six."""
    if number % 1000 < 10:
        return cardinal(number)
    century, rest = divmod(number, 100)
    return cardinal(century) + (["hundred"] if rest == 0 else ["oh", ONES[rest]] if rest < 10 else cardinal(rest))


def time_of_day(match):
    hour, minute = int(match[1]), match[2]
    if minute == "00":
        return f" {hour} "
    return f" {hour} oh {int(minute)} " if minute[0] == "0" else f" {hour} {minute} "


def spell(match):
    text = match[0].replace(",", "")
    number = int(re.match(r"\d+", text)[0])
    if number >= 10 ** 12:
        said = [ONES[int(digit)] for digit in str(number)]
    elif text[-1].isalpha():
        said = ordinal(number)
    elif "," not in match[0] and re.fullmatch("1[1-9]..|20..", text):
        said = year(number)
    else:
        said = cardinal(number)
    return " " + " ".join(said) + " "


def words(text):
    """The words that are compared."""
    text = text.lower().replace("’", "'").replace("%", " percent ").replace("a.m.", "am").replace("p.m.", "pm")
    text = re.sub(r"([$€£])(\d[\d,]*(?:\.\d+)?)((?: (?:thousand|million|billion))?)",
                  lambda m: f"{m[2]}{m[3]} {CURRENCIES[m[1]]}", text)
    text = re.sub(r"(\d{1,2}):(\d\d)\b", time_of_day, text)
    text = re.sub(r"(\d)\.(\d+)", lambda m: m[1] + " point " + " ".join(m[2]), text)
    text = re.sub(r"\d{1,3}(?:,\d{3})+|\d+(?:(?:st|nd|rd|th)\b)?", spell, text)
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)


def align(reference, hypothesis):
    """The cheapest edits, as (reference word or None, hypothesis word or None)."""
    rows = [list(range(len(hypothesis) + 1))]
    for i, want in enumerate(reference, 1):
        row = [i]
        for j, got in enumerate(hypothesis, 1):
            row.append(min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (want != got)))
        rows.append(row)
    edits, i, j = [], len(reference), len(hypothesis)
    while i or j:
        if i and j and rows[i][j] == rows[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            edits.append((reference[i], hypothesis[j]))
        elif i and rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
            edits.append((reference[i], None))
        else:
            j -= 1
            edits.append((None, hypothesis[j]))
    return edits[::-1]


def rate(reference, hypothesis):
    """Percent, and the wrong edits."""
    wanted = words(reference)
    if not wanted:
        raise ValueError("the reference has no words")
    wrong = [edit for edit in align(wanted, words(hypothesis)) if edit[0] != edit[1]]
    return 100 * len(wrong) / len(wanted), wrong


def text_of(content):
    """Plain text as it is; of turns and of wire events their text."""
    start = content.lstrip()[:1]
    if start == "[":
        return " ".join(turn["text"] for turn in json.loads(content))
    if start == "{":
        events = [json.loads(line) for line in content.splitlines() if line.strip()]
        return " ".join(event["text"] for event in events if event.get("type") == "final")
    return content


def read(path):
    if path == "-":
        return sys.stdin.read()
    with open(path, encoding="utf-8") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max", type=float, metavar="PERCENT")
    parser.add_argument("reference")
    parser.add_argument("hypothesis")
    args = parser.parse_args()
    reference = text_of(read(args.reference))
    percent, wrong = rate(reference, text_of(read(args.hypothesis)))
    for want, got in wrong:
        print(f"  {want or '+':>16}  {got or '-'}")
    print(f"WER {percent:.1f} %, {len(wrong)} errors in {len(words(reference))} words")
    sys.exit(args.max is not None and percent > args.max)


if __name__ == "__main__":
    main()
