// tokenizer_config.json and the other files that name tokens and templates: as an export copies them, and as
// generation reads them.
#include "export/directory/side_files.hpp"
#include "fuzz/harness.hpp"
#include "runtime/chat/conversation.hpp"
#include "runtime/settings.hpp"
#include "tokenizer/settings.hpp"

using namespace deltavino;

void fuzz_one(std::string_view input) {
    const fuzz::Folder& folder = fuzz::input_folder();
    fuzz::unpack(folder, input, "tokenizer_config.json");
    fuzz::expect_error_at_most([&] {
        Problems problems;
        tokenizer::read_tokenizer_settings(folder.path(), problems, problems);
        problems.throw_if_any(ErrorKind::Input, "cannot use the input");
    });
    fuzz::output_folder().clear();
    fuzz::expect_error_at_most([&] { exporter::copy_side_files(folder.path(), fuzz::output_folder().path()); });
    fuzz::expect_error_at_most([&] { runtime::read_special_tokens(folder.path()); });
    fuzz::expect_error_at_most([&] { runtime::read_chat_template(folder.path()); });
}
