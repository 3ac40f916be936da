import asyncio, ctypes, gc, os, random, threading, weakref
from unittest import mock
import cocotb
from cocotb import simulator
from cocotb.clock import Clock
from cocotb.queue import Queue
from cocotb.triggers import ClockCycles, Event, First, RisingEdge, Timer, with_timeout
from cocotb.simulator import get_sim_time as RAW
from cocotb.utils import get_sim_time
import common
from common import bring_up

DRAWN = random.random()
NOW = get_sim_time
GARBAGE = weakref.ref(common.Loop())

def note(name, *values):
    with open(os.environ['COCORUN_PROJECT_DIR'] + '/noted', 'a') as file:
        print(os.environ['HOW'], name, values, sep='|', file=file)

async def helper(dut):
    return await bring_up(dut)

async def forever():
    while True:
        await Timer(7, 'ns')
