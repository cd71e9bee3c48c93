//! `lag` for the planner. It only types the call: [`crate::compile::lag`] lowers it to an operator.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{
    LimitEffect, PartitionEvaluator, Signature, TypeSignature, Volatility, WindowUDF, WindowUDFImpl,
};
use datafusion_physical_expr::PhysicalExpr;

pub(in crate::compile) const NAME: &str = "lag";

/// The function.
pub(in crate::compile) fn function() -> Arc<WindowUDF> {
    let any = [1, 2, 3].map(TypeSignature::Any).to_vec();
    Arc::new(WindowUDF::new_from_impl(Lag(Signature::one_of(any, Volatility::Immutable))))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lag(Signature);

impl WindowUDFImpl for Lag {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Err(DataFusionError::Internal("lag is an operator of its own".to_owned()))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let value = args.get_input_field(0);
        let value = value.ok_or_else(|| DataFusionError::Plan("lag needs an argument".to_owned()))?;
        Ok(Arc::new(value.as_ref().clone().with_name(args.name()).with_nullable(true)))
    }

    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }
}
