// Answers of the Hub and files of its cache. The first byte tells which.
#include "fuzz/harness.hpp"
#include "hub/api.hpp"
#include "hub/http.hpp"
#include "hub/listing.hpp"
#include "hub/repository.hpp"

#include <algorithm>

using namespace deltavino;

namespace {

const std::string kRepository = "owner/name";

void read_tree(std::string_view json) {
    hub::Listing listing;
    hub::add_tree_page(listing, json, kRepository);
    hub::side_files(listing);
    hub::require_checkpoint(listing, kRepository);
    hub::weight_files(listing, std::nullopt, kRepository);
}

void read_index(std::string_view json) {
    const hub::Listing listing{{"model.safetensors", 8, "", {}}, {"a.safetensors", 8, "", {}}};
    hub::weight_files(listing, std::string(json), kRepository);
}

// The first line is a status, the others are headers.
void read_headers(std::string_view text) {
    hub::Response response;
    response.status = text.starts_with('4') ? 429 : 503;
    for (const char* name : {"link", "retry-after", "ratelimit"}) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        response.headers[name] = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    hub::next_page(response);
    hub::asked_wait(response);
}

void read_name(std::string_view text) {
    hub::url_quote(text, "/");
    hub::require_safe_file_name(text, kRepository);
    hub::parse_repository(std::string(text), "");
}

}  // namespace

void fuzz_one(std::string_view input) {
    if (input.empty()) {
        return;
    }
    const char kind = input.front();
    input.remove_prefix(1);
    fuzz::expect_error_at_most([&] {
        switch (kind) {
            case 't': return read_tree(input);
            case 'r': hub::commit_of_revision(input, kRepository); return;
            case 'c': hub::read_tree_file(input, kRepository); return;
            case 'n': hub::read_needed(input); return;
            case 'i': return read_index(input);
            case 'h': return read_headers(input);
            default: return read_name(input);
        }
    });
}
