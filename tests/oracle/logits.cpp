// oracle_logits TOKENS LOGITS ARGUMENTS...: the logits of a model for the comparisons with Python packages. TOKENS is a
// safetensors file with `tokens` [batch, seq] int64, LOGITS the one to write, with `logits` [batch, seq, vocab];
// ARGUMENTS are `titan train`'s and name the model and, by checkpoint.initial_load_path, its weights.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <cstdio>
#include <string>
#include <vector>

#include "titan/checkpoint/checkpointer.h"
#include "titan/checkpoint/safetensors_reader.h"
#include "titan/checkpoint/safetensors_writer.h"
#include "titan/config/reader.h"
#include "titan/models/registry.h"

namespace titan {
namespace {

void write_logits(const std::string& tokens_path, const std::string& logits_path,
                  const std::vector<std::string>& arguments) {
  config::Problems problems;
  const config::JobConfig job = config::read(arguments, problems).config;
  problems.throw_if_any();
  const models::ModelSpec* const spec = models::find_model(job.model.name);
  TORCH_CHECK_VALUE(spec != nullptr, "model.name: no model '", job.model.name, "'");

  const std::shared_ptr<models::LanguageModel> model = spec->build(job);
  model->to_empty(at::kCPU);
  model->init_weights(nn::Initializer(/*seed=*/0));
  checkpoint::TrainState state;
  for (const nn::Parameter* parameter : model->parameters()) state.model[parameter->fqn()] = parameter->get().detach();
  const checkpoint::Checkpointer checkpointer(job.checkpoint, job.job.dump_folder, job.model.hf_assets_path,
                                              spec->hugging_face(job));
  const std::optional<checkpoint::LoadSource> source = checkpointer.load_newest(state);
  TORCH_CHECK_VALUE(source.has_value() && source->model_only, "checkpoint.initial_load_path: must name the weights");

  const at::NoGradGuard no_grad;
  const at::Tensor hidden = (*model)(checkpoint::SafetensorsReader(tokens_path).read("tokens"));
  const at::Tensor logits = model->output_layer()(hidden);
  checkpoint::write_safetensors(logits_path, {{"logits", checkpoint::info_of(logits)}},
                                [&](const std::string&) { return logits; });
}

}  // namespace
}  // namespace titan

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: oracle_logits TOKENS LOGITS [titan train's arguments]\n", stderr);
    return 2;
  }
  try {
    titan::write_logits(argv[1], argv[2], std::vector<std::string>(argv + 3, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "oracle_logits: %s\n", error.what());
    return 1;
  }
  return 0;
}
