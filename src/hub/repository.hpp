// Names of the Hub: repositories, revisions and files, checked before they become paths or addresses.
#pragma once

#include <string>
#include <string_view>

namespace deltavino::hub {

struct Repository {
    std::string id;        // "owner/name"
    std::string revision;  // branch, tag or commit
};

// `model` is "owner/name" or "owner/name@revision"; `revision` may be empty, which takes main. Throws
// ErrorKind::Input when it has another form, ErrorKind::Usage when the two revisions differ.
Repository parse_repository(const std::string& model, const std::string& revision);

// Whether it is a whole commit hash: 40 hexadecimal digits.
bool is_commit(std::string_view revision);

// Throws ErrorKind::Input unless `name` is a relative path with '/' that stays inside its folder.
void require_safe_file_name(std::string_view name, std::string_view repository);

// Percent-encoded for an address; characters of `keep` stay.
std::string url_quote(std::string_view text, std::string_view keep = "");

}  // namespace deltavino::hub
