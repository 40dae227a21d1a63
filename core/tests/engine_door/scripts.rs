//! The commands of the world's project. Each finds its orders in the world's folder, `$W`:
//! `broken_deploy`, `sick_health` and the like change what it does.

use std::path::Path;

/// Writes them all below `bin`.
pub(crate) fn write(dir: &Path) {
    let w = dir.display();
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let script = |name: &str, body: String| {
        use std::os::unix::fs::PermissionsExt;
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\nW={w}\n{body}")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script(
        "pytest",
        "echo \"$ORCH_REVISION\" >> $W/retests\n\
         if [ -e $W/at_retest ]; then mv $W/at_retest $W/at_retest.done; sh $W/at_retest.done || { echo 'FAILED tests/test_sort.py::test_order'; exit 1; }; fi\n\
         if [ -e broken ]; then echo 'FAILED tests/test_sort.py::test_order'; exit 1; fi\nexit 0\n"
            .to_owned(),
    );
    script(
        "coverage",
        "test -e $W/covered || echo 8 > $W/covered\n\
         printf '{\"totals\":{\"covered_lines\":%s,\"num_statements\":10}}' \"$(cat $W/covered)\" > coverage.json\n\
         if [ -e $W/nothing_measured ]; then printf '{\"totals\":{\"covered_lines\":0,\"num_statements\":0}}' > coverage.json; fi\n"
            .to_owned(),
    );
    script(
        "deploy",
        "echo \"$ORCH_REVISION\" >> $W/deploys\n\
         if [ -e $W/at_deploy ]; then mv $W/at_deploy $W/at_deploy.done; sh $W/at_deploy.done; fi\n\
         if [ -e $W/broken_deploy ]; then echo 'no room' >&2; exit 3; fi\n\
         printf %s \"$ORCH_REVISION\" > $W/deployed\n"
            .to_owned(),
    );
    script(
        "image",
        "echo \"$ORCH_REVISION\" >> $W/builds\n\
         if [ -e $W/at_build ]; then mv $W/at_build $W/at_build.done; sh $W/at_build.done; fi\n\
         if [ -e $W/broken_build ]; then echo 'no room' >&2; exit 3; fi\n\
         if [ -e $W/inherited_label ]; then exit 0; fi\n\
         printf %s \"$ORCH_REVISION\" > $W/image\n"
            .to_owned(),
    );
    script(
        "image-revision",
        "if [ -e $W/deaf_image ]; then echo 'no daemon' >&2; exit 1; fi\n\
         if [ -e $W/image ]; then cat $W/image; fi\n"
            .to_owned(),
    );
    script(
        "health",
        "if [ -e $W/deaf_health ]; then kill -9 $$; fi\n\
         if [ -e $W/sick_health ]; then echo 'still starting' >&2; exit 1; fi\n\
         if [ -e $W/deployed ]; then cat $W/deployed; else echo nothing; fi\n"
            .to_owned(),
    );
}
