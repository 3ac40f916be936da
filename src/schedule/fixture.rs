//! Fixtures shared by the tests of several files.

use crate::model::build::BuildName;
use crate::model::build::BuiltDesign;
use crate::model::build::Language;
use crate::model::build::SimulatorName;
use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;

/// Creates a testcase of module `m` on build `b`.
pub(super) fn testcase(name: &str) -> Testcase {
    Testcase {
        id: TestcaseId {
            build: BuildName("b".to_owned()),
            module: TestModule("m".to_owned()),
            variant: None,
            testcase: name.to_owned(),
        },
        occurrence: 0,
        file: None,
        line: None,
        doc: None,
        skip: false,
        stage: 0,
    }
}

/// Creates a design that cannot be started.
pub(super) fn design(name: &str) -> BuiltDesign {
    BuiltDesign {
        name: BuildName(name.to_owned()),
        simulator: SimulatorName("icarus".to_owned()),
        key: "0".repeat(64),
        dir: "/design".into(),
        artifact: "/design/sim.vvp".into(),
        hdl_toplevel: "top".to_owned(),
        toplevel_language: Language::Verilog,
        waves: false,
    }
}
