#include "benchmark/measurement_json.hpp"

#include "base/error.hpp"

namespace deltavino::benchmark {
namespace {

using MeasurementJson = nlohmann::ordered_json;

MeasurementJson length_json(const LengthMeasurement& length) {
    MeasurementJson json{{"prompt_tokens", length.prompt_tokens},
                         {"first_token_seconds", length.first_token_seconds},
                         {"prefill_seconds", length.prefill_seconds},
                         {"new_tokens", length.new_tokens},
                         {"decode_seconds", length.decode_seconds}};
    if (!length.prefill_operations.empty()) {
        json["prefill_operations"] = length.prefill_operations;
        json["decode_operations"] = length.decode_operations;
    }
    return json;
}

LengthMeasurement length_of(const MeasurementJson& json) {
    LengthMeasurement length;
    json.at("prompt_tokens").get_to(length.prompt_tokens);
    json.at("first_token_seconds").get_to(length.first_token_seconds);
    json.at("prefill_seconds").get_to(length.prefill_seconds);
    json.at("new_tokens").get_to(length.new_tokens);
    json.at("decode_seconds").get_to(length.decode_seconds);
    if (json.contains("prefill_operations")) {
        json.at("prefill_operations").get_to(length.prefill_operations);
        json.at("decode_operations").get_to(length.decode_operations);
    }
    return length;
}

}  // namespace

MeasurementJson json_of(const Measurement& measurement) {
    MeasurementJson json{{"load_seconds", measurement.load_seconds}};
    if (measurement.peak_memory_bytes) {
        json["peak_memory_bytes"] = *measurement.peak_memory_bytes;
    }
    json["device"] = measurement.device;
    json["precision"] = measurement.precision;
    json["kv_cache"] = measurement.kv_cache;
    json["dynamic_quantization_group"] = measurement.dynamic_quantization_group;
    json["inference_threads"] = measurement.inference_threads;
    json["random_embeddings"] = measurement.random_embeddings;
    json["lengths"] = MeasurementJson::array();
    for (const LengthMeasurement& length : measurement.lengths) {
        json["lengths"].push_back(length_json(length));
    }
    return json;
}

Measurement measurement_of(const std::string& text) {
    try {
        const MeasurementJson json = MeasurementJson::parse(text);
        Measurement measurement;
        json.at("load_seconds").get_to(measurement.load_seconds);
        if (json.contains("peak_memory_bytes")) {
            measurement.peak_memory_bytes = json.at("peak_memory_bytes").get<std::uint64_t>();
        }
        json.at("device").get_to(measurement.device);
        json.at("precision").get_to(measurement.precision);
        json.at("kv_cache").get_to(measurement.kv_cache);
        json.at("dynamic_quantization_group").get_to(measurement.dynamic_quantization_group);
        json.at("inference_threads").get_to(measurement.inference_threads);
        json.at("random_embeddings").get_to(measurement.random_embeddings);
        for (const MeasurementJson& length : json.at("lengths")) {
            measurement.lengths.push_back(length_of(length));
        }
        return measurement;
    } catch (const nlohmann::json::exception& error) {
        fail(ErrorKind::Internal, "cannot read what the measuring process says: {}", error.what());
    }
}

}  // namespace deltavino::benchmark

namespace deltavino {

std::string measurement_json(const Measurement& measurement) {
    return benchmark::json_of(measurement).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace deltavino
