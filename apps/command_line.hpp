// The command line as the commands declare it: names, help and what becomes of each value. Parsing is
// CLI11's, behind command_line.cpp, the only file that includes it; help and messages are ours.
#pragma once

#include <deltavino/error.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::app {

// Does something with one value of an option; throws ErrorKind::Usage when it is not usable.
using Take = std::function<void(const std::string& text)>;

enum class Values { None, One, Many };  // Many: as many as follow, up to the next option

struct Option {
    std::string names;  // "-m,--model", "--json", or "model" for a positional argument
    std::string type;   // "DIR"; what help shows for the value
    std::string help;
    std::string group;  // heading in the help
    Values values = Values::One;
    Take take;                              // of a flag: called with an empty text
    bool shown = true;                      // in the help
    bool repeated = true;                   // may be given more than once; else that is an error
    std::vector<std::string> choices = {};  // all values that are taken, for completion; empty: others
};

// What every command takes.
const std::vector<Option>& common_options();

// "-m,--model" in parts.
std::vector<std::string> split_names(const std::string& names);

class Command {
public:
    Command(std::string name, std::string summary) : name_(std::move(name)), summary_(std::move(summary)) {}

    // Options declared from here on stand under this heading.
    void group(std::string heading) { group_ = std::move(heading); }
    void value(std::string names, std::string type, std::string help, Take take, Values values = Values::One);
    void list(std::string names, std::string type, std::string help, Take take);  // one value, may be repeated
    void flag(std::string names, std::string help, std::function<void()> set);
    // Of the option before.
    void choices(std::vector<std::string> choices) { options_.back().choices = std::move(choices); }
    // Taken and not shown in the help.
    void hidden(std::string names, Values values, Take take);
    void example(std::string line) { examples_.push_back(std::move(line)); }
    // Run after parsing; throws ErrorKind::Usage for what is missing or does not go together.
    void check(std::function<void()> check) { check_ = std::move(check); }
    void run(std::function<int()> run) { run_ = std::move(run); }

    const std::string& name() const { return name_; }
    const std::string& summary() const { return summary_; }
    const std::vector<Option>& options() const { return options_; }
    const std::vector<std::string>& examples() const { return examples_; }
    void finish() const { check_ ? check_() : void(); }
    int execute() const { return run_(); }

private:
    std::string name_;
    std::string summary_;
    std::string group_ = "Options";
    std::vector<Option> options_;
    std::vector<std::string> examples_;
    std::function<void()> check_;
    std::function<int()> run_;
};

// Parses and runs. Returns the exit code; throws Error, ErrorKind::Usage for a wrong command line. It names
// everything that is wrong: words that are not known, then values that cannot be used, as they were typed.
int run_command_line(const std::vector<Command>& commands, int argc, char** argv);

// How values are taken. A number that does not fit names the option and what is expected.
Take text_into(std::string& target);
Take text_into(std::optional<std::string>& target);
Take path_into(std::filesystem::path& target);
Take path_into(std::vector<std::filesystem::path>& target);
Take count_into(std::uint64_t& target, std::uint64_t least = 0);
Take count_into(std::optional<std::uint64_t>& target, std::uint64_t least = 0);
Take count_into(unsigned& target);
Take whole_into(std::optional<std::int64_t>& target);
Take real_into(std::optional<double>& target);

// The model directory of a command that takes it as an argument or by -m, once.
void one_model(Command& command, const std::string& help, std::filesystem::path& target);
// Throws ErrorKind::Usage when the command line named none.
void require_model(const std::filesystem::path& target);

}  // namespace deltavino::app
