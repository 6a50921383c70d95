#include "titan/models/llama3/parallelize.h"

#include "titan/config/job_config.h"
#include "titan/logging/logger.h"
#include "titan/models/llama3/model.h"
#include "titan/nn/dtype.h"
#include "titan/parallel/mixed_precision.h"

namespace titan::models::llama3 {

void parallelize(Transformer& model, const config::JobConfig& job) {
  const at::ScalarType param_dtype = nn::dtype_from(job.training.mixed_precision_param);
  if (param_dtype == nn::dtype_from(job.training.dtype)) return;
  if (model.tok_embeddings) parallel::apply_mixed_precision(*model.tok_embeddings, param_dtype);
  for (int64_t i = 0; i < model.layers->size(); ++i) {
    if ((*model.layers)[i]) parallel::apply_mixed_precision(*(*model.layers)[i], param_dtype);
  }
  if (model.norm) parallel::apply_mixed_precision(*model.norm, param_dtype);
  if (model.output) parallel::apply_mixed_precision(*model.output, param_dtype);
  logging::info("Applied mixed precision to the model: {} compute copies of {} parameters",
                job.training.mixed_precision_param, job.training.dtype);
}

}  // namespace titan::models::llama3
