"""What a rater does on the page, for tests in a browser on a machine of any speed."""

import time


def begin_rating(tab):
    """Close the instructions, as the rater who has read them does."""
    tab.bring_to_front()
    assert tab.locator("#intro").is_visible()
    tab.keyboard.press("Enter")
    assert until(tab, "!document.getElementById('intro').open")


def until(tab, condition, arg=None, seconds=120):
    """Wait for a condition in the page by asking for it.

    Playwright's own waits go by frames, and a headless browser on a busy machine may draw none for minutes.
    """
    end = time.monotonic() + seconds
    while not (found := tab.evaluate(condition, arg)) and time.monotonic() < end:
        tab.wait_for_timeout(50)
    return found


def press(tab, key):
    """Press a key that answers, and wait for the next case; again if nothing happens, as a rater does."""
    tab.bring_to_front()
    case = tab.evaluate("document.body.dataset.case")
    for _ in range(12):
        assert until(tab, "document.body.dataset.ready === 'yes'")  # keys right after a new case do not count for it
        tab.keyboard.press(key)
        if until(tab, "before => document.body.dataset.case !== before", case, seconds=10):
            return
    raise AssertionError(f"{key} was pressed a dozen times, and the page still shows {case}")


def tap(tab, button, condition, arg=None):
    """Tap a button until the page has done what was asked; again if nothing happens, as a rater does.

    A tap right after a new case does not count. Nor does one right after the instructions: their end may reach the
    page late on a busy machine.
    """
    for _ in range(12):
        button.tap()
        if until(tab, condition, arg, seconds=10):
            return
    raise AssertionError(f"a dozen taps, and still not {condition}")


def press_for_message(tab, key):
    """Press a key that answers until the page says what is wrong; what it says."""
    for _ in range(12):
        assert until(tab, "document.body.dataset.ready === 'yes'")
        tab.keyboard.press(key)
        if until(tab, "!document.getElementById('message').hidden", seconds=10):
            return tab.evaluate("document.getElementById('message').textContent")
    raise AssertionError(f"{key} was pressed a dozen times, and the page says nothing")
