import atexit, os, random, subprocess, sys, tempfile, threading, time, weakref
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Event, RisingEdge, Timer

WRONG = os.environ.get('WRONG')
GO = Event()
KEPT = []

def count(what):
    with open(os.environ['COCORUN_PROJECT_DIR'] + '/counted', 'a') as file:
        file.write(what)

async def monitor(dut, seen):
    while True:
        await RisingEdge(dut.clk)
        seen.append(1)

async def fail_later():
    await GO.wait()
    assert not 'the monitor is content'

async def reset(dut, cycles=3):
    count('r')
    cocotb.start_soon(Clock(dut.clk, 10, 'ns').start())
    dut.rst.value = 1
    await ClockCycles(dut.clk, cycles)
    dut.rst.value = 0
    return cycles

async def boot(dut, seen=None):
    count('b')
    cocotb.start_soon(monitor(dut, [] if seen is None else seen))
    cocotb.start_soon(fail_later())
    await ClockCycles(dut.clk, 50)
    return dut

class Slow:
    factor = 1

SLOW = Slow()
CONFIG = {'cycles': 0}
EXTRA = 0
LEVEL = None

async def train(dut):
    global LEVEL
    count('t')
    if WRONG == 'changes': LEVEL = 'link'
    more = CONFIG['cycles'] + SLOW.factor + EXTRA + int(os.environ.get('EXTRA', 0))
    if os.path.exists('extra.txt'): more += 8
    await ClockCycles(dut.clk, more)
    await ClockCycles(dut.clk, 20)
    if WRONG == 'raises': raise ValueError('no link')
    if WRONG == 'exits': sys.exit(3)
    if WRONG == 'leaves': os._exit(0)
    if WRONG == 'crashes': os.abort()
    if WRONG == 'waits': await Event().wait()
    if WRONG == 'loops':
        while True: pass
    if WRONG == 'opens': KEPT.append(open(__file__))
    if WRONG == 'writes': open('written.txt', 'w').close()
    if WRONG == 'removes': KEPT.append(tempfile.TemporaryDirectory())
    if WRONG == 'registers': atexit.register(len, ())
    if WRONG == 'starts': KEPT.append(subprocess.Popen(['sleep', '1000']))
    if WRONG == 'forks': os.fork()
    if WRONG == 'thread': threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    return 'link'

class Loop:
    def __init__(self):
        self.loop = self

class Seen(list):
    """With what is garbage when the bring-up ends."""

class Result:
    def __init__(self, *parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)

    def __repr__(self):
        return repr(self.parts)

async def bring_up(dut):
    seen = Seen()
    seen.garbage = weakref.ref(Loop())
    await reset(dut)
    await boot(dut, seen)
    return Result(await train(dut), seen)

not_a_coroutine = 7
