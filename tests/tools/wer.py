#!/usr/bin/env python3
"""Word error rate: wer.py REFERENCE HYPOTHESIS (text files; - = standard input). Prints the rate and the edits.

Both sides: lower case, no punctuation, numbers as words; nothing else is removed. `--max PERCENT` sets the exit code.
"""
import re
import sys

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen").split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
            "twelve": "twelfth"}


def cardinal(number):
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10]] + ([ONES[number % 10]] if number % 10 else [])
    for size, name in ((10 ** 9, "billion"), (10 ** 6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            return cardinal(number // size) + [name] + (cardinal(number % size) if number % size else [])
    raise AssertionError(number)


def ordinal(number):
    words = cardinal(number)
    last = words[-1]
    words[-1] = ORDINALS.get(last, last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return words


def spell(match):
    text = match.group(0).replace(",", "")
    number = int(re.match(r"\d+", text).group(0))
    if number >= 10 ** 12:
        return " ".join(ONES[int(digit)] for digit in str(number))
    return " ".join(ordinal(number) if text[-1].isalpha() else cardinal(number))


def words(text):
    text = text.lower().replace("’", "'").replace("%", " percent ")
    text = re.sub(r"\$(\d[\d,]*)", r"\1 dollars", text)
    text = re.sub(r"(\d+):00\b", r"\1", text)
    text = re.sub(r"(\d+):(\d\d)\b", r"\1 \2", text)
    text = re.sub(r"\d+\.(\d+)", lambda m: m.group(0).split(".")[0] + " point " + " ".join(m.group(1)), text)
    text = re.sub(r"\d{1,3}(?:,\d{3})+|\d+(?:st|nd|rd|th)?", lambda m: " " + spell(m) + " ", text)
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
    wrong = [edit for edit in align(words(reference), words(hypothesis)) if edit[0] != edit[1]]
    return 100 * len(wrong) / max(1, len(words(reference))), wrong


def read(path):
    return sys.stdin.read() if path == "-" else open(path, encoding="utf-8").read()


def main():
    args = sys.argv[1:]
    most = float(args.pop(args.index("--max") + 1)) if "--max" in args else None
    args = [arg for arg in args if arg != "--max"]
    percent, wrong = rate(read(args[0]), read(args[1]))
    for want, got in wrong:
        print(f"  {want or '+':>14}  {got or '-'}")
    print(f"WER {percent:.1f} %, {len(wrong)} errors")
    sys.exit(most is not None and percent > most)


if __name__ == "__main__":
    main()
