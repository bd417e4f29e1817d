// What a program asks of the terminal it runs in.
#pragma once

namespace deltavino {

enum class Stream { Input, Error };

bool is_terminal(Stream stream);

// From now on an interrupt (Ctrl-C), a request to end or the end of the terminal is noted, for
// stop_requested(); a second interrupt ends the process at once.
void note_stop_requests();
bool stop_requested();

}  // namespace deltavino
