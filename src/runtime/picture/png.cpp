// PNG through libpng. libpng reports errors by longjmp, so every function that calls it under setjmp
// holds plain values only; everything with a destructor lives outside of them.
#include "runtime/picture/decode.hpp"

#include "base/error.hpp"

#include <png.h>

#include <csetjmp>
#include <cstring>

namespace deltavino::runtime {
namespace {

struct Source {
    const std::byte* data = nullptr;
    std::size_t size = 0;
    std::size_t used = 0;
    char message[256] = "";
};

void on_error(png_structp png, png_const_charp message) {
    auto* source = static_cast<Source*>(png_get_error_ptr(png));
    std::strncpy(source->message, message, sizeof(source->message) - 1);
    png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep out, png_size_t count) {
    auto* source = static_cast<Source*>(png_get_io_ptr(png));
    if (source->size - source->used < count) {
        png_error(png, "the file ends before the picture does");
    }
    std::memcpy(out, source->data + source->used, count);
    source->used += count;
}

class PngReader {
public:
    explicit PngReader(std::span<const std::byte> bytes) {
        source_.data = bytes.data();
        source_.size = bytes.size();
        png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source_, on_error, on_warning);
        info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
        end_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
        if (info_ == nullptr || end_ == nullptr) {
            png_destroy_read_struct(&png_, &info_, &end_);
            fail(ErrorKind::Internal, "cannot start libpng");
        }
        png_set_read_fn(png_, &source_, on_read);
    }
    ~PngReader() { png_destroy_read_struct(&png_, &info_, &end_); }
    PngReader(const PngReader&) = delete;
    PngReader& operator=(const PngReader&) = delete;

    // False: see message().
    bool read_header() {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // the product is checked by the caller
        png_read_info(png_, info_);
        return true;
    }
    // Asks for 8-bit RGB and allocates rows: only after the size was checked.
    bool start() {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_set_palette_to_rgb(png_);
        png_set_strip_16(png_);
        png_set_strip_alpha(png_);
        png_set_gray_to_rgb(png_);  // widens 1, 2 and 4 bits, too
        passes_ = png_set_interlace_handling(png_);
        png_read_update_info(png_, info_);
        return true;
    }
    bool read_pixels(std::uint8_t* pixels, std::size_t row_bytes, std::uint32_t height) {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        for (int pass = 0; pass < passes_; ++pass) {
            for (std::uint32_t row = 0; row < height; ++row) {
                png_read_row(png_, pixels + row * row_bytes, nullptr);
            }
        }
        png_read_end(png_, end_);
        return true;
    }
    // The EXIF block, before or after the pixels.
    std::span<const std::byte> exif() {
        for (png_infop info : {info_, end_}) {
            png_uint_32 size = 0;
            png_bytep data = nullptr;
            if (png_get_eXIf_1(png_, info, &size, &data) != 0 && data != nullptr) {
                return std::as_bytes(std::span(data, size));
            }
        }
        return {};
    }
    std::uint32_t width() const { return png_get_image_width(png_, info_); }
    std::uint32_t height() const { return png_get_image_height(png_, info_); }
    std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
    const char* message() const { return source_.message; }

private:
    Source source_;
    png_structp png_ = nullptr;
    png_infop info_ = nullptr;
    png_infop end_ = nullptr;
    int passes_ = 1;
};

}  // namespace

DecodedPicture decode_png(std::span<const std::byte> bytes, const std::string& name) {
    PngReader reader(bytes);
    const auto damaged = [&]() {
        fail(ErrorKind::Input, "cannot use picture '{}': damaged PNG: {}", name, reader.message());
    };
    if (!reader.read_header()) {
        damaged();
    }
    require_picture_size(reader.width(), reader.height(), name);
    if (!reader.start()) {
        damaged();
    }
    DecodedPicture decoded;
    decoded.picture.width = reader.width();
    decoded.picture.height = reader.height();
    const std::size_t row_bytes = std::size_t{reader.width()} * 3;
    if (reader.row_bytes() != row_bytes) {
        fail(ErrorKind::Internal, "libpng gives rows of {} bytes for picture '{}', expected {}", reader.row_bytes(),
             name, row_bytes);
    }
    decoded.picture.pixels.resize(row_bytes * reader.height());
    if (!reader.read_pixels(decoded.picture.pixels.data(), row_bytes, reader.height())) {
        damaged();
    }
    decoded.orientation = exif_orientation(reader.exif()).value_or(1);
    return decoded;
}

}  // namespace deltavino::runtime
