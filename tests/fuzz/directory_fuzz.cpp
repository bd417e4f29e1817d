// An exported directory, as `inspect` and the structural part of `check` read it.
#include "evaluate/directory_model.hpp"
#include "evaluate/fusions.hpp"
#include "evaluate/ir_weights.hpp"
#include "evaluate/structure.hpp"
#include "fuzz/harness.hpp"
#include "graph/names.hpp"
#include "runtime/openvino_call.hpp"

#include <deltavino/inspect.hpp>

#include <openvino/runtime/core.hpp>

using namespace deltavino;

void fuzz_one(std::string_view input) {
    static ov::Core core;
    const fuzz::Folder& folder = fuzz::input_folder();
    fuzz::unpack(folder, input, "openvino_model.xml");
    folder.put("openvino_model.bin", std::string(256, '\1'));
    fuzz::expect_error_at_most([&] { inspect(folder.path()); });
    fuzz::expect_error_at_most([&] {
        runtime::openvino_call(ErrorKind::Input, "check the input", [&] {
            evaluation::check_files(folder.path());
            const evaluation::DirectoryModel model(core, folder.path());
            evaluation::check_graph(model);
            evaluation::count_layers(*model.language());
        });
    });
}
