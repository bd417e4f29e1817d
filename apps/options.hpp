// The options of each command. What is parsed goes into the structs, which must outlive the commands.
#pragma once

#include "command_line.hpp"
#include "commands.hpp"

namespace deltavino::app {

// --revision and --cache-dir.
void hub_options(Command& command, HubOptions& options);

// How a checkpoint is exported before it is run, with --revision and --cache-dir.
void recipe_options(Command& command, RunRecipe& recipe);

Command export_options(ExportCommand& command);
Command generate_options(GenerateCommand& command);
Command inspect_options(InspectCommand& command);
Command eval_options(EvalCommand& command);
Command check_options(CheckCommand& command);
Command cache_options(CacheCommand& command);

}  // namespace deltavino::app
