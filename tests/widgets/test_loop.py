"""Functions are called in the loop's thread, or not at all."""

import asyncio
import threading

from freezeviz.widgets._loop import MainLoop, running_kernel


def in_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(10)
    return results[0]


def test_in_plain_python_there_is_no_loop_and_no_kernel():
    loop = MainLoop.find()
    assert loop.loop is None
    assert loop.is_here
    assert running_kernel() is None


def test_a_running_loop_is_found():
    async def find():
        return MainLoop.find().loop is asyncio.get_running_loop()

    assert asyncio.run(find())


def test_soon_is_at_once_in_the_loops_own_thread():
    calls = []
    assert MainLoop(None, threading.get_ident()).soon(lambda: calls.append(1))
    assert calls == [1]


def test_soon_from_another_thread_is_in_the_loops():
    loop = asyncio.new_event_loop()
    main = MainLoop(loop, threading.get_ident())
    threads = []
    assert in_thread(lambda: main.soon(lambda: threads.append(threading.get_ident())))
    assert threads == []
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert threads == [threading.get_ident()]


def test_later_waits():
    loop = asyncio.new_event_loop()
    main = MainLoop(loop, threading.get_ident())
    calls = []
    assert main.later(0.05, lambda: calls.append(1))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert calls == []
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    assert calls == [1]


def test_without_a_loop_or_with_a_closed_one_the_answer_is_no():
    closed = asyncio.new_event_loop()
    closed.close()
    for loop in (None, closed):
        main = MainLoop(loop, threading.get_ident())
        assert not main.later(0.0, lambda: None)
        assert not in_thread(lambda main=main: main.soon(lambda: None))


def test_a_thread_that_keeps_the_loop_busy_may_catch_up_and_nothing_is_called_twice():
    loop = asyncio.new_event_loop()
    main = MainLoop(loop, threading.get_ident())
    calls = []

    def ask():
        main.soon(lambda: calls.append("soon"))
        main.later(0.0, lambda: calls.append("now"))
        main.later(60.0, lambda: calls.append("late"))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    main.catch_up()
    assert calls == ["soon", "now"]
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    main.catch_up()
    assert calls == ["soon", "now"]
    loop.close()


def test_catching_up_survives_what_fails(caplog):
    loop = asyncio.new_event_loop()
    main = MainLoop(loop, threading.get_ident())
    thread = threading.Thread(target=lambda: main.soon(lambda: 1 / 0))
    thread.start()
    thread.join()
    main.catch_up()
    assert "ZeroDivisionError" in caplog.text
    loop.close()
