"""python3 -m unittest discover tests/tools"""
import unittest

from wer import rate, words


class Wer(unittest.TestCase):
    def test_numbers_are_words_on_both_sides(self):
        for digits, spelled in [("42", "forty two"), ("12,000", "twelve thousand"), ("1st", "first"), ("20th", "twentieth"),
                                ("$1100", "one thousand one hundred dollars"), ("7:00", "seven"), ("90%", "ninety percent"),
                                ("3.5", "three point five"), ("forty-two", "forty two")]:
            self.assertEqual(words(digits), spelled.split(), digits)

    def test_case_and_punctuation_do_not_count_and_every_word_does(self):
        self.assertEqual(rate("Good morning, Anna!", "good morning anna")[0], 0)
        self.assertEqual(rate("Oh, very nice.", "very nice")[1], [("oh", None)])

    def test_each_kind_of_error_counts_once(self):
        self.assertEqual(len(rate("a b c d", "a x c d e")[1]), 2)
        self.assertEqual(rate("a b c d", "")[0], 100)


if __name__ == "__main__":
    unittest.main()
