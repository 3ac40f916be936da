//! Fixtures shared by the tests of several files.

use crate::model::build::BuildName;
use crate::model::build::BuiltDesign;
use crate::model::build::Language;
use crate::model::build::SimulatorName;
use crate::model::test::ModuleInVariant;
use crate::model::test::TestModule;
use crate::model::test::Testcase;

use std::collections::BTreeMap;

/// Creates a testcase of module `m` on build `b`.
pub(super) fn testcase(name: &str) -> Testcase {
    let module = TestModule("m".to_owned());
    let module = ModuleInVariant {
        module: &module,
        variant: None,
    };
    let mut testcase = Testcase::whole_module(&BuildName("b".to_owned()), module);
    name.clone_into(&mut testcase.id.testcase);
    testcase
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
        has_foreign_code: false,
        step_dirs: BTreeMap::new(),
    }
}
