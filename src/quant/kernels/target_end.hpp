// Ends what target_avx2.hpp or target_avx512.hpp began. The last include of a .cpp file.
#if defined(__clang__)
#pragma clang attribute pop
#endif
