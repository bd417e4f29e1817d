// The weights of a model, one row each: where a tensor is in the checkpoint, which shape it must have
// and what it is for. The rows are checked against the checkpoint before anything is built.
#pragma once

#include "base/error.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/quantization.hpp"
#include "checkpoint/rows/row_source.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::graph {

// What a tensor is for; the storage type is chosen by it.
enum class Role {
    Embedding,
    Head,
    AttentionProjection,  // q_proj, k_proj, v_proj, o_proj
    DeltaProjection,      // in_proj_qkv, in_proj_z, out_proj of the gated delta rule
    DecayProjection,      // in_proj_a, in_proj_b: one row per head, errors compound in the recurrence
    FeedForward,          // gate_proj, up_proj, down_proj of a dense layer
    DraftProjection,      // fc of the multi-token-prediction layer
    Router,
    Expert,
    SharedExpert,
    SharedExpertGate,
    Convolution,
    Vector,  // norms, A_log, dt_bias, biases: always float32
    VisionProjection,
    VisionTable,  // learned position embeddings
};

// As the report prints it, for example "attention projection".
std::string_view role_name(Role role);

struct TensorRow {
    std::string name;  // canonical (checkpoint.hpp)
    std::vector<std::uint64_t> shape;
    Role role = Role::Vector;
};

// Some rows of a tensor of the table, seen as [rows, columns].
struct Part {
    std::string name;  // canonical
    std::uint64_t first_row = 0;
    std::uint64_t rows = 0;
};

// A weight of the model that the checkpoint stores in another way: the rows of `parts`, in order. Blocks
// ask for it by its name like for any other.
struct Assembly {
    std::string name;  // canonical, of no tensor
    std::vector<std::uint64_t> shape;
    Role role = Role::Vector;
    std::vector<Part> parts;
};

class TensorTable {
public:
    // Throws ErrorKind::Internal for a name that is there already; so does assemble.
    void add(std::string name, std::vector<std::uint64_t> shape, Role role);
    // The tensors of the parts are added on their own.
    void assemble(std::string name, std::vector<std::uint64_t> shape, Role role, std::vector<Part> parts);
    // Tensors whose canonical names match the pattern (* stands for any characters) are left out on purpose;
    // `why` tells the user.
    void leave_out(std::string pattern, std::string why);
    // How the checkpoint says that it is quantized.
    void set_quantization(std::optional<checkpoint::Quantization> quantization);
    const std::optional<checkpoint::Quantization>& quantization() const { return quantization_; }

    // The row of a tensor that is about to be used; throws ErrorKind::Internal when there is none.
    const TensorRow& require(const std::string& name) const;
    // Throws ErrorKind::Internal when rows were never asked for with require(): the checkpoint was held to
    // them, and no model that was built reads them.
    void check_all_used() const;
    const Assembly* find_assembly(const std::string& name) const;
    const std::vector<TensorRow>& rows() const { return rows_; }

    struct LeftOut {
        std::string why;
        std::size_t tensors = 0;
        std::uint64_t bytes = 0;
    };

    // Throws one Error with every tensor that is missing, has another shape or type than expected, or
    // is not in the table; returns what was left out on purpose. Tensors that feed a quantized weight count as
    // that weight, and tensors that only the index has as left out. The kind is ErrorKind::Unsupported when nothing is wrong but the way of quantization.
    // `notes` gets one sentence each: what was found quantized, and where the checkpoint's list of plain modules
    // disagrees with its tensors, which decide.
    std::vector<LeftOut> check(const checkpoint::Checkpoint& checkpoint,
                               std::vector<std::string>* notes = nullptr) const;

private:
    struct Findings;
    // `others`: tensors of the checkpoint that feed no row, among which a similar name may be.
    std::string missing_problem(const TensorRow& row, const checkpoint::Checkpoint& checkpoint,
                                const std::vector<std::string>& others) const;
    Findings find_all(const checkpoint::Checkpoint& checkpoint, Problems& problems) const;
    void check_plain(const checkpoint::Checkpoint& checkpoint, const Findings& findings, Problems& problems) const;
    std::vector<LeftOut> check_rest(const checkpoint::Checkpoint& checkpoint, const std::vector<std::string>& rest,
                                    Problems& problems) const;
    std::vector<std::string> quantization_notes(const Findings& findings) const;

    std::vector<TensorRow> rows_;
    std::map<std::string, std::size_t> index_;
    std::map<std::string, Assembly> assemblies_;
    std::vector<std::pair<std::string, std::string>> left_out_;
    mutable std::vector<bool> used_;  // by row; building is single-threaded
    std::optional<checkpoint::Quantization> quantization_;
};

}  // namespace deltavino::graph
