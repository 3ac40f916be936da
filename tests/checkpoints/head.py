import asyncio, ctypes, os, random, threading
from unittest import mock
import cocotb
from cocotb import simulator
from cocotb.clock import Clock
from cocotb.queue import Queue
from cocotb.triggers import ClockCycles, Event, First, RisingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time
import common
from common import bring_up

DRAWN = random.random()
NOW = get_sim_time

def note(name, *values):
    with open(os.environ['COCORUN_PROJECT_DIR'] + '/noted', 'a') as file:
        print(os.environ['HOW'], name, values, sep='|', file=file)

async def helper(dut):
    return await bring_up(dut)

async def forever():
    while True:
        await Timer(7, 'ns')
