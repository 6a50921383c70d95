// titan convert FROM TO [flags of the model]: weights from PyTorch's DCP to Hugging Face's safetensors, and back.
#include <c10/util/Exception.h>

#include <cstdio>
#include <filesystem>
#include <optional>

#include "cli/job.h"
#include "cli/own_flags.h"
#include "cli/verbs.h"
#include "titan/checkpoint/convert.h"
#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/tensor_reader.h"
#include "titan/config/reader.h"

namespace titan::cli {
namespace {

constexpr const char* kUsage =
    "usage: titan convert FROM TO [--dtype float32|bfloat16|float16] [flags of the model]\n\n"
    "FROM: a checkpoint in PyTorch's DCP format, of which the weights become safetensors in the folder TO;\n"
    "or Hugging Face's safetensors, which become a DCP checkpoint TO. Told by content. The model's names and\n"
    "sizes come from the flags of `titan train`: --job.config_file, --model.name, --model.flavor, --model.args.*\n";

}  // namespace

int run_convert(const Arguments& arguments) {
  // 1. What is this verb's own; the rest describes the model.
  std::vector<std::string> paths;
  std::optional<c10::ScalarType> dtype;
  Arguments job_flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--help" || arguments[i] == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    if (const auto value = value_of_flag("--dtype", arguments, i)) {
      dtype = checkpoint::dtype_of_torch(*value);
      TORCH_CHECK_VALUE(dtype && c10::isFloatingType(*dtype), "--dtype: expected float32, bfloat16 or float16, got '",
                        *value, "'");
    } else if (!arguments[i].starts_with("--") && job_flags.empty()) {
      paths.push_back(arguments[i]);
    } else {
      job_flags.push_back(arguments[i]);
    }
  }
  TORCH_CHECK_VALUE(paths.size() == 2, "titan convert: expected FROM and TO before any flag of the model, got ",
                    paths.size(), " paths; `titan convert --help` says more");
  const std::filesystem::path from = paths[0], to = paths[1];

  // 2. The model.
  config::Problems problems;
  const config::Reading reading = config::read(job_flags, problems);
  const models::ModelSpec* const spec = find_model(reading.config, problems);
  problems.throw_if_any();
  TORCH_CHECK_VALUE(spec != nullptr, "model.name: there is no model '", reading.config.model.name, "'");
  TORCH_CHECK_VALUE(spec->hugging_face != nullptr, "model.name: ", spec->name, " has no Hugging Face format");
  const auto format = spec->hugging_face(reading.config);

  // 3. Its weights.
  const auto reader = checkpoint::open_tensors(from);
  if (std::filesystem::exists(from / ".metadata")) {
    TORCH_CHECK_VALUE(!std::filesystem::exists(to) || std::filesystem::is_empty(to), to.string(),
                      ": expected a new or an empty folder");
    std::filesystem::create_directories(to);
    checkpoint::convert_to_hugging_face(*reader, format, to, dtype);
  } else {
    checkpoint::convert_from_hugging_face(*reader, format, to, dtype);
  }
  std::printf("%s: %zu tensors from %s\n", to.c_str(), checkpoint::open_tensors(to)->tensors().size(), from.c_str());
  return 0;
}

}  // namespace titan::cli
