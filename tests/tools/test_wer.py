"""python3 -m unittest discover tests/tools"""
import unittest

from wer import rate, text_of, words


class Wer(unittest.TestCase):
    def test_numbers_are_words_on_both_sides(self):
        for digits, spelled in [
                ("42", "forty two"), ("0", "zero"), ("100", "one hundred"), ("12,000", "twelve thousand"),
                ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
                ("forty-two", "forty two"), ("1234567890123", "one two three four five six seven eight nine zero one two three")]:
            self.assertEqual(words(digits), spelled.split(), digits)

    def test_ordinals_decimals_money_and_percentages_are_words(self):
        for digits, spelled in [
                ("1st", "first"), ("22nd", "twenty second"), ("20th", "twentieth"), ("112th", "one hundred twelfth"),
                ("3.5", "three point five"), ("90%", "ninety percent"), ("0.25 %", "zero point two five percent"),
                ("$1,100", "one thousand one hundred dollars"), ("$3 million", "three million dollars"), ("€5", "five euros")]:
            self.assertEqual(words(digits), spelled.split(), digits)

    def test_years_and_times_are_said_as_people_say_them(self):
        for digits, spelled in [
                ("1984", "nineteen eighty four"), ("1905", "nineteen oh five"), ("1100", "eleven hundred"),
                ("2007", "two thousand seven"), ("2026", "twenty twenty six"), ("1,984", "one thousand nine hundred eighty four"),
                ("7:00", "seven"), ("7:05 a.m.", "seven oh five am"), ("12:30", "twelve thirty")]:
            self.assertEqual(words(digits), spelled.split(), digits)

    def test_case_and_punctuation_do_not_count_and_every_word_does(self):
        self.assertEqual(rate("Good morning, Anna!", "good morning anna")[0], 0)
        self.assertEqual(rate("Oh, very nice.", "very nice")[1], [("oh", None)])
        self.assertEqual(words("It’s Anna's."), ["it's", "anna's"])

    def test_each_kind_of_error_counts_once(self):
        self.assertEqual(rate("a b c d", "a x c d")[0], 25)
        self.assertEqual(rate("a b c d", "a b d")[1], [("c", None)])
        self.assertEqual(rate("a b c d", "a b c d e")[1], [(None, "e")])
        self.assertEqual(rate("a b c d", "")[0], 100)

    def test_an_empty_reference_is_an_error_and_no_success(self):
        self.assertRaises(ValueError, rate, "...", "words")

    def test_turns_and_wire_events_are_read_as_their_text(self):
        self.assertEqual(text_of('[{"text": "one"}, {"text": "two"}]'), "one two")
        self.assertEqual(text_of('{"type":"partial","text":"on"}\n{"type":"final","text":"one"}\n\n{"type":"end"}\n'), "one")
        self.assertEqual(text_of("one two"), "one two")


if __name__ == "__main__":
    unittest.main()
