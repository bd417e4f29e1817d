// JPEG through libjpeg. It reports errors by longjmp, so every function that calls it under setjmp
// holds plain values only; everything with a destructor lives outside of them.
#include "runtime/picture/decode.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <jerror.h>
#include <jpeglib.h>

namespace deltavino::runtime {
namespace {

// Each pass of a progressive file goes over the whole picture: without a limit, small files keep a
// decoder busy for hours.
constexpr int kMaxScans = 200;
constexpr long kMaxMemoryBytes = 1536l << 20;  // of libjpeg itself: the coefficients of progressive files

struct Errors {
    jpeg_error_mgr manager{};  // first: libjpeg hands its address back
    std::jmp_buf jump{};
    char message[JMSG_LENGTH_MAX] = "";
};

[[noreturn]] void stop(j_common_ptr common) {
    auto* errors = reinterpret_cast<Errors*>(common->err);
    common->err->format_message(common, errors->message);
    std::longjmp(errors->jump, 1);
}

// Warnings are kept quiet, but those that mean lost picture data are errors here.
void on_message(j_common_ptr common, int severity) {
    if (severity >= 0) {
        return;
    }
    switch (common->err->msg_code) {
        case JWRN_HIT_MARKER:
        case JWRN_HUFF_BAD_CODE:
        case JWRN_MUST_RESYNC:
        case JWRN_NOT_SEQUENTIAL:
        case JWRN_BOGUS_PROGRESSION: stop(common);
        default: common->err->num_warnings += 1;
    }
}

void on_progress(j_common_ptr common) {
    auto* info = reinterpret_cast<j_decompress_ptr>(common);
    if (info->input_scan_number > kMaxScans) {
        auto* errors = reinterpret_cast<Errors*>(common->err);
        std::snprintf(errors->message, sizeof(errors->message), "it has more than %d passes", kMaxScans);
        std::longjmp(errors->jump, 1);
    }
}

boolean on_empty(j_decompress_ptr info) {
    auto* errors = reinterpret_cast<Errors*>(info->err);
    std::strncpy(errors->message, "the file ends before the picture does", sizeof(errors->message) - 1);
    std::longjmp(errors->jump, 1);
}

void on_skip(j_decompress_ptr info, long count) {
    if (count <= 0) {
        return;
    }
    if (static_cast<std::size_t>(count) > info->src->bytes_in_buffer) {
        on_empty(info);
    }
    info->src->next_input_byte += count;
    info->src->bytes_in_buffer -= static_cast<std::size_t>(count);
}

void do_nothing(j_decompress_ptr) {}

class JpegReader {
public:
    explicit JpegReader(std::span<const std::byte> bytes) {
        info_.err = jpeg_std_error(&errors_.manager);
        errors_.manager.error_exit = stop;
        errors_.manager.emit_message = on_message;
        source_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
        source_.bytes_in_buffer = bytes.size();
        source_.init_source = do_nothing;
        source_.fill_input_buffer = on_empty;
        source_.skip_input_data = on_skip;
        source_.resync_to_restart = jpeg_resync_to_restart;
        source_.term_source = do_nothing;
        progress_.progress_monitor = on_progress;
    }
    ~JpegReader() { jpeg_destroy_decompress(&info_); }
    JpegReader(const JpegReader&) = delete;
    JpegReader& operator=(const JpegReader&) = delete;

    // False: see message().
    bool read_header() {
        if (setjmp(errors_.jump) != 0) {
            return false;
        }
        jpeg_create_decompress(&info_);
        info_.src = &source_;
        info_.progress = &progress_;
        info_.mem->max_memory_to_use = kMaxMemoryBytes;
        jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);
        jpeg_read_header(&info_, TRUE);
        return true;
    }
    // Prepares rows of three or, for CMYK, four bytes per pixel.
    bool start(bool cmyk) {
        if (setjmp(errors_.jump) != 0) {
            return false;
        }
        info_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
        jpeg_start_decompress(&info_);
        return true;
    }
    bool read_row(std::uint8_t* out) {
        if (setjmp(errors_.jump) != 0) {
            return false;
        }
        JSAMPROW row = out;
        return jpeg_read_scanlines(&info_, &row, 1) == 1;
    }
    bool finish() {
        if (setjmp(errors_.jump) != 0) {
            return false;
        }
        jpeg_finish_decompress(&info_);
        return true;
    }
    int orientation() const {
        constexpr std::size_t kPrefix = 6;
        for (jpeg_saved_marker_ptr marker = info_.marker_list; marker != nullptr; marker = marker->next) {
            if (marker->data_length > kPrefix && std::memcmp(marker->data, "Exif\0\0", kPrefix) == 0) {
                return exif_orientation(std::as_bytes(std::span(marker->data, marker->data_length)).subspan(kPrefix))
                    .value_or(1);
            }
        }
        return 1;
    }
    std::uint32_t width() const { return info_.image_width; }
    std::uint32_t height() const { return info_.image_height; }
    int components() const { return info_.num_components; }
    const char* message() const { return errors_.message; }

private:
    jpeg_decompress_struct info_{};
    jpeg_source_mgr source_{};
    jpeg_progress_mgr progress_{};
    Errors errors_;
};

// Pillow's conversion. The levels of a CMYK JPEG count ink from 255 down.
void cmyk_row_to_rgb(const std::uint8_t* in, std::uint8_t* out, std::size_t width) {
    for (std::size_t x = 0; x < width; ++x) {
        const int white = in[x * 4 + 3];
        for (std::size_t c = 0; c < 3; ++c) {
            const int product = (255 - in[x * 4 + c]) * white + 128;
            out[x * 3 + c] = static_cast<std::uint8_t>(std::max(white - ((product >> 8) + product) / 256, 0));
        }
    }
}

}  // namespace

DecodedPicture decode_jpeg(std::span<const std::byte> bytes, const std::string& name) {
    JpegReader reader(bytes);
    const auto damaged = [&]() {
        fail(ErrorKind::Input, "cannot use picture '{}': damaged or unusual JPEG: {}", name, reader.message());
    };
    if (!reader.read_header()) {
        damaged();
    }
    require_picture_size(reader.width(), reader.height(), name);
    const int components = reader.components();
    if (components != 1 && components != 3 && components != 4) {
        fail(ErrorKind::Unsupported, "cannot use picture '{}': a JPEG of {} colour components, expected 1, 3 or 4",
             name, components);
    }
    const bool cmyk = components == 4;
    DecodedPicture decoded;
    decoded.orientation = reader.orientation();
    decoded.picture.width = reader.width();
    decoded.picture.height = reader.height();
    const std::size_t row_bytes = std::size_t{reader.width()} * 3;
    decoded.picture.pixels.resize(row_bytes * reader.height());
    std::vector<std::uint8_t> inks(cmyk ? std::size_t{reader.width()} * 4 : 0);
    if (!reader.start(cmyk)) {
        damaged();
    }
    for (std::size_t y = 0; y < reader.height(); ++y) {
        std::uint8_t* out = decoded.picture.pixels.data() + y * row_bytes;
        if (!reader.read_row(cmyk ? inks.data() : out)) {
            damaged();
        }
        if (cmyk) {
            cmyk_row_to_rgb(inks.data(), out, reader.width());
        }
    }
    if (!reader.finish()) {
        damaged();
    }
    return decoded;
}

}  // namespace deltavino::runtime
