#include "titan/parallel/tensor/module_sharding.h"

namespace titan::parallel {

using dtensor::Placement;
using dtensor::replicate;
using dtensor::shard;

Edge replicate_with_gradient_terms() { return {replicate(), dtensor::partial()}; }

ModuleSharding colwise_parallel(std::string fqn, Edge input_is, Edge output_becomes, bool output_is_local) {
  return {.fqn = std::move(fqn),
          .parameters = {{"weight", shard(0)}, {"bias", shard(0)}},
          .input_is = input_is,
          .input_becomes = replicate(),
          .output_becomes = output_becomes,
          .output_is_local = output_is_local};
}

ModuleSharding rowwise_parallel(std::string fqn, Edge output_becomes, bool overlap) {
  return {.fqn = std::move(fqn),
          .parameters = {{"weight", shard(1)}, {"bias", replicate()}},
          .input_is = shard(-1),
          .input_becomes = shard(-1),
          .output_becomes = output_becomes,
          .summed_while_multiplied = overlap};
}

ModuleSharding vocabulary_parallel(std::string fqn, Edge output_becomes) {
  return {.fqn = std::move(fqn),
          .parameters = {{"weight", shard(0)}},
          .input_is = replicate(),
          .input_becomes = replicate(),
          .output_becomes = output_becomes};
}

ModuleSharding sequence_parallel(std::string fqn, Placement activations, Edge output_becomes) {
  return {.fqn = std::move(fqn),
          .parameters = {{"weight", replicate()}},
          .input_is = activations,
          .input_becomes = activations,
          .output_becomes = output_becomes};
}

ModuleSharding prepare_module_input(std::string fqn, Placement input_is, Placement input_becomes,
                                    std::vector<std::string> overlapped) {
  return {.fqn = std::move(fqn),
          .input_is = input_is,
          .input_becomes = input_becomes,
          .multiplied_while_gathered = std::move(overlapped)};
}

}  // namespace titan::parallel
