//! The run's seed decides what testcases draw, whatever they draw from and however they are run.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use crate::support::COCOTB;
use crate::support::Project;

/// Stands for `NumPy`, whose global generator is seeded by the system when it is imported. It is the
/// same generator as Python's.
const NUMPY_RANDOM: &str = "\
import random

class RandomState(random.Random):
    def get_state(self):
        _, state, _ = self.getstate()
        return 'MT19937', state[:-1], state[-1], 0, 0.0

    def set_state(self, state):
        self.setstate((3, state[1] + (state[2],), None))

    bytes = random.Random.randbytes

def MT19937(seed):
    return seed

_rand = RandomState()
seed, rand, get_state, set_state = _rand.seed, _rand.random, _rand.get_state, _rand.set_state
";

/// Stands for the part of Hypothesis that seeds it; the system does, where nobody forces it.
const HYPOTHESIS_CORE: &str = "\
import random

global_force_seed = None

def drawn():
    return random.Random(global_force_seed).random()
";

/// Imports `hypothesis` and `NumPy` early; the system's own source cannot be seeded.
const DRAWS: &str = "\
import cocotb, os, random, numpy.random, hypothesis.core
numpy.random.rand()
at_import = random.random(), numpy.random.rand()

def note(name):
    drawn = [at_import, random.random(), numpy.random.rand(), hypothesis.core.drawn()]
    drawn += [list({'a', 'b', 'c', 'd'}), random.SystemRandom().random()]
    with open(os.environ['COCORUN_PROJECT_DIR'] + '/drawn', 'a') as file:
        print(os.environ['HOW'], __name__, name, *drawn, sep='|', file=file)

@cocotb.test()
async def first(dut): note('first')
@cocotb.test()
async def seeds_itself(dut):
    numpy.random.seed(1)
    note('seeds itself')
@cocotb.test()
async def second(dut): note('second')
";

const HOW: [&str; 5] = [
    "",
    "fork = false",
    "preload = [\"numpy.random\", \"hypothesis.core\"]",
    "isolation = \"module\"",
    "isolation = \"build\"\nfork = false",
];

fn project() -> Project {
    let mut toml = "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
                    matrix = { HOW = [0, 1, 2, 3, 4] }\n"
        .to_owned();
    for (number, keys) in HOW.iter().enumerate() {
        write!(
            toml,
            "\n[[test]]\nbuild = \"top/HOW={number}\"\ntest_module = [\"sets\", \"draws\", \"late\"]\n\
             env = {{ HOW = {number} }}\n{keys}\n"
        )
        .unwrap();
    }
    let project = Project::with_cocotb(COCOTB, &toml);
    project.file("numpy/__init__.py", "");
    project.file("numpy/random.py", NUMPY_RANDOM);
    project.file("hypothesis/__init__.py", "");
    project.file("hypothesis/core.py", HYPOTHESIS_CORE);
    project.file("draws.py", DRAWS);
    // A module that sets the state, or imports only in its testcases.
    project.file(
        "sets.py",
        &DRAWS.replacen("numpy.random.rand()", "numpy.random.seed(42)", 1),
    );
    let imports = ", numpy.random, hypothesis.core\nnumpy.random.rand()";
    let late = DRAWS.replacen(imports, "", 1);
    let late = late.replace(", numpy.random.rand()\n", ",\n");
    let late = late.replace(
        "def note(name):\n",
        "def note(name):\n    import numpy.random, hypothesis.core\n",
    );
    let late = late.replace("    numpy.random.seed(1)\n", "");
    project.file("late.py", &late);
    project.file(
        "top.sv",
        "module top #(parameter HOW = 0) (input logic d, output logic q); assign q = d; endmodule\n",
    );
    project
}

/// What was drawn, by module and testcase, from each source but the last; each of the ways to run
/// has to give the same.
type Drawn = BTreeMap<(String, String), Vec<String>>;

#[test]
fn one_seed_gives_the_same_draws_however_testcases_are_run_and_another_seed_others() {
    let project = project();
    let mut unseeded = BTreeSet::new();
    let mut drawn = |seed: &str, build: &str, ways: usize| -> Drawn {
        project.file("drawn", "");
        let said = project.run(&["test", "--seed", seed, "--build", build]);
        let said = said.expect_code(0).text;
        assert!(!said.contains("warning"), "{said}");
        let text = fs::read_to_string(project.path("drawn")).unwrap();
        let mut drawn = Drawn::new();
        assert_eq!(text.lines().count(), ways * 9, "{text}");
        for line in text.lines() {
            let fields: Vec<String> = line.split('|').map(str::to_owned).collect();
            let [how, module, testcase, sources @ .., system] = fields.as_slice() else {
                panic!("{line}");
            };
            // Python's `random` goes on from one import to the next, as with plain cocotb.
            let sources = if how == "4" { &sources[1..] } else { sources };
            let key = (module.clone(), testcase.clone());
            let known = drawn.entry(key).or_insert_with(|| sources.to_vec());
            let skipped = known.len() - sources.len();
            assert_eq!(&known[skipped..], sources, "{how}: {text}");
            assert!(unseeded.insert(system.clone()), "{system} twice");
        }
        drawn
    };
    let seven = drawn("7", "top", HOW.len());
    assert_eq!(drawn("7", "top/HOW=0", 1), seven);
    let eight = drawn("8", "top/HOW=0", 1);
    let numpy = |drawn: &Drawn, module: &str, testcase: &str| {
        drawn[&(module.to_owned(), testcase.to_owned())][2].clone()
    };
    for module in ["draws", "late"] {
        let names = [("first", &seven), ("second", &seven), ("first", &eight)];
        let numbers: BTreeSet<String> =
            names.iter().map(|(it, of)| numpy(of, module, it)).collect();
        assert_eq!(numbers.len(), names.len(), "{seven:?} {eight:?}");
    }
    // A seed of the module's own, or of a testcase's own, is what counts.
    for (module, testcase) in [("sets", "first"), ("draws", "seeds itself")] {
        assert_eq!(
            numpy(&seven, module, testcase),
            numpy(&eight, module, testcase)
        );
    }
    assert_eq!(
        numpy(&seven, "sets", "first"),
        numpy(&seven, "sets", "second")
    );
    let first = ("draws".to_owned(), "first".to_owned());
    for (source, number) in ["random", "NumPy", "Hypothesis"].iter().zip(1..) {
        assert_ne!(seven[&first][number], eight[&first][number], "{source}");
    }
}
