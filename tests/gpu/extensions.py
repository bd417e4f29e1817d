"""Prints the extensions of the first device that the OpenCL loader finds."""

import ctypes

EVERY_DEVICE, EXTENSIONS = 0xFFFFFFFF, 0x1030

opencl = ctypes.CDLL("libOpenCL.so.1")
platform, device, size = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t()
if opencl.clGetPlatformIDs(1, ctypes.byref(platform), None) != 0:
    raise SystemExit("no OpenCL platform was found")
if opencl.clGetDeviceIDs(platform, ctypes.c_ulong(EVERY_DEVICE), 1, ctypes.byref(device), None) != 0:
    raise SystemExit("no OpenCL device was found")
opencl.clGetDeviceInfo(device, EXTENSIONS, 0, None, ctypes.byref(size))
text = ctypes.create_string_buffer(size.value)
opencl.clGetDeviceInfo(device, EXTENSIONS, size, text, None)
print(text.value.decode())
