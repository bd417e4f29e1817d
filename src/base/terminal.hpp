// What a program asks of the terminal it runs in.
#pragma once

namespace deltavino {

enum class Stream { Input, Error };

bool is_terminal(Stream stream);

// From now on an interrupt (Ctrl-C) or a request to end is noted, for stop_requested(); a second one
// ends the process at once.
void note_stop_requests();
bool stop_requested();

}  // namespace deltavino
