// Applies a job's techniques to a Llama 3, in the one order in which they compose: pipeline split -> tensor -> context
// -> activation checkpoint -> compile -> data parallel (with its mixed precision). The model is still on meta.
#pragma once

namespace titan::config {
struct JobConfig;
}

namespace titan::models::llama3 {

class Transformer;

void parallelize(Transformer& model, const config::JobConfig& job);

}  // namespace titan::models::llama3
