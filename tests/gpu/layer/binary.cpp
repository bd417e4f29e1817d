// Kernel binaries that no GPU would run, but that can be read.
//
// oneDNN finds out which GPU it works for by compiling an empty kernel and reading the family from the binary.
// Its fuser of micro-kernels (attention on GPUs with a matrix engine) takes the binary of a kernel of the plugin
// apart and puts machine code of its own into it. Both want an ELF file with certain sections and do not look into
// the machine code.
#include "layer.hpp"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace layer {
namespace {

constexpr std::uint32_t kDeviceBinary = 0xFF000005;  // section type: a header in the older format, which names the GPU
constexpr std::uint32_t kKernelInfo = 0xFF000011;    // section type: a description of the kernels as YAML
constexpr std::string_view kTextMark = "DELTAVINO-STUB:";

struct DeviceHeader {
    std::uint32_t magic = 0x494E5443;  // "INTC"
    std::uint32_t version = 1;
    std::uint32_t core = 0;
    std::uint32_t pointer_bytes = 8;
    std::uint32_t kernels = 1;
    std::uint32_t stepping = 0;
    std::uint32_t patches = 0;
};

struct Section {
    std::string name;
    std::uint32_t type = 0;
    std::vector<unsigned char> content;
};

void append(std::vector<unsigned char>& bytes, const void* from, std::size_t count) {
    const std::size_t end = bytes.size();
    bytes.resize(end + count);
    if (count > 0) {
        std::memcpy(&bytes[end], from, count);
    }
}

std::vector<Section> sections(bool kernels) {
    DeviceHeader header;
    header.core = family().core;
    std::vector<Section> list{{".strtab", SHT_STRTAB, {0}}, {".dev", kDeviceBinary, {}}};
    append(list[1].content, &header, sizeof header);
    if (kernels) {  // a reader that finds a description of kernels no longer looks at the header
        list.push_back({".ze_info", kKernelInfo, std::vector<unsigned char>(16)});
        list.push_back({".text.stub", SHT_PROGBITS, std::vector<unsigned char>(16)});
    }
    for (const Section& section : list) {
        append(list[0].content, section.name.c_str(), section.name.size() + 1);
    }
    return list;
}

}  // namespace

std::vector<unsigned char> make_binary(const std::string& text) {
    const std::vector<Section> list = sections(!text.empty());
    Elf64_Ehdr head{};
    std::memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_ident[EI_DATA] = ELFDATA2LSB;
    head.e_ident[EI_VERSION] = EV_CURRENT;
    head.e_type = ET_REL;
    head.e_version = EV_CURRENT;
    head.e_ehsize = sizeof head;
    head.e_shoff = sizeof head;
    head.e_shentsize = sizeof(Elf64_Shdr);
    head.e_shnum = static_cast<Elf64_Half>(list.size());
    head.e_shstrndx = 0;

    std::vector<unsigned char> bytes;
    append(bytes, &head, sizeof head);
    std::size_t name = 1, offset = sizeof head + list.size() * sizeof(Elf64_Shdr);
    for (const Section& section : list) {
        Elf64_Shdr entry{};
        entry.sh_name = static_cast<Elf64_Word>(name);
        entry.sh_type = section.type;
        entry.sh_offset = offset;
        entry.sh_size = section.content.size();
        append(bytes, &entry, sizeof entry);
        name += section.name.size() + 1;
        offset += section.content.size();
    }
    for (const Section& section : list) {
        append(bytes, section.content.data(), section.content.size());
    }
    append(bytes, kTextMark.data(), kTextMark.size());
    append(bytes, text.c_str(), text.size() + 1);
    return bytes;
}

std::string text_of_binary(const unsigned char* bytes, std::size_t size) {
    const auto* begin = reinterpret_cast<const char*>(bytes);
    const std::string_view all(begin, size);
    const std::size_t mark = all.find(kTextMark);
    if (mark == std::string_view::npos) {
        return {};
    }
    const std::string_view rest = all.substr(mark + kTextMark.size());
    return std::string(rest.substr(0, rest.find('\0')));
}

}  // namespace layer
