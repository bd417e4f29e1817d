// What a program settles with the operating system before it does anything.
#pragma once

namespace deltavino {

// For programs, once, at the start of main:
//   - standard streams that are closed get a place of their own, so that the first file that is opened does
//     not become standard output and receive the program's text; writing to a closed standard output fails;
//   - going over a file-size limit and writing to a pipe that nobody reads are errors of the write, not
//     signals that end the process in the middle of its work.
void prepare_process();

}  // namespace deltavino
