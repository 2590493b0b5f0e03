"""Rows of decimal numbers from the bytes of a text, compiled: NumPy's own readers take several times as long."""

import numba
import numpy as np

FINE, TOO_FEW, TOO_MANY, NO_NUMBER, NO_ROOM = range(5)  # what may be wrong with a line
LARGEST = 1e9  # what is beyond is a fault of the file: no place and no angle of a body
_MOST_DIGITS = 18  # as many fit an int64; those beyond are below what a float64 can tell
_LARGEST_POWER = 308
_POWERS = 10.0 ** np.arange(_LARGEST_POWER + 1)

compiled = numba.njit(cache=True, nogil=True)


@compiled
def read_number(text, start, stop):
    """The number written in text[start:stop], NaN where that is no decimal number of at most LARGEST."""
    place, negative = start, False
    if text[place] in (43, 45):  # + -
        negative = text[place] == 45
        place += 1
    digits, num_digits, exponent, after_point = np.int64(0), 0, 0, False
    seen = False
    while place < stop:
        byte = text[place]
        if 48 <= byte <= 57:
            seen = True
            if num_digits < _MOST_DIGITS:
                digits = 10 * digits + (byte - 48)
                num_digits += digits > 0
                exponent -= after_point
            else:
                exponent += not after_point
        elif byte == 46 and not after_point:  # .
            after_point = True
        else:
            break
        place += 1
    if not seen:
        return np.nan
    if place < stop and text[place] in (69, 101):  # E e
        place += 1
        downwards = False
        if place < stop and text[place] in (43, 45):
            downwards = text[place] == 45
            place += 1
        if place == stop:
            return np.nan
        power = 0
        while place < stop and 48 <= text[place] <= 57:
            power = min(10 * power + (text[place] - 48), 100_000)
            place += 1
        exponent += -power if downwards else power
    if place < stop:
        return np.nan
    value = np.float64(digits)
    if exponent < 0:
        # In two steps, since 1e-330 * 10 ** 18 is a number and 10 ** 330 is none.
        value /= _POWERS[min(-exponent, _LARGEST_POWER)]
        value /= _POWERS[min(max(-exponent - _LARGEST_POWER, 0), _LARGEST_POWER)]
    elif digits:
        value = value * _POWERS[exponent] if exponent <= _LARGEST_POWER else np.inf
    if value > LARGEST:
        return np.nan
    return -value if negative else value


@compiled
def read_rows(text, rows):
    """Fill `rows` (row, column) from the lines of `text` (uint8); blank lines carry nothing.

    Returns how many rows were filled, how many lines read before the one at fault, what is wrong with it, and
    where that line and the word at fault begin in `text`.
    """
    num_rows, line, place = 0, 0, 0
    most_rows, columns = rows.shape
    while place < len(text):
        begin, column = place, 0
        while place < len(text) and text[place] != 10:
            if text[place] <= 32:
                place += 1
                continue
            word = place
            while place < len(text) and text[place] > 32:
                place += 1
            if num_rows == most_rows:
                return num_rows, line, NO_ROOM, begin, word
            if column == columns:
                return num_rows, line, TOO_MANY, begin, word
            value = read_number(text, word, place)
            if np.isnan(value):
                return num_rows, line, NO_NUMBER, begin, word
            rows[num_rows, column] = value
            column += 1
        if 0 < column < columns:
            return num_rows, line, TOO_FEW, begin, place
        num_rows += column > 0
        line += 1
        place += 1
    return num_rows, line, FINE, place, place
