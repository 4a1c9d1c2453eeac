//! The table of callbacks: functions that a module exports for Envoy to call. It generates [`Callbacks`] and the
//! signatures that [`Inspection`](crate::Inspection) checks.

use super::export::export;
use crate::abi::signature::Signature;
use crate::abi::{ALL, AbiVersion, ONLY_0_1_0, SINCE_0_2_0};
use crate::error::Error;
use crate::state::callback::Callback;
use crate::state::vm_state::State;
use wasmi::{Instance, Store};

/// A callback that Envoy calls.
pub(crate) struct CallbackType {
    pub name: &'static str,
    /// The ABI versions with which Envoy calls the callback.
    pub abis: &'static [AbiVersion],
    pub signature: Signature,
}

/// Selects a callback of an instance, such as `|callbacks| callbacks.tick`.
pub(crate) type SelectCallback<Params, Results> = fn(&Callbacks) -> Callback<Params, Results>;

/// Generates [`CALLBACKS`] from all entries, and [`Callbacks`] from those with a field: the callbacks that this host calls
/// too. An entry is `name(parameters) -> result in ABI versions => field`.
macro_rules! callbacks {
    ($( $name:ident $params:ty => $result:ty, $abis:ident $( => $field:ident )?; )*) => {
        /// Every callback that Envoy calls, in the order of a plugin's life.
        pub(crate) const CALLBACKS: &[CallbackType] = &[$( CallbackType {
            name: stringify!($name),
            abis: $abis,
            signature: Signature::of::<$params, $result>(),
        }, )*];

        callbacks! { @fields [] $( { $name $params => $result, $abis $( => $field )? } )* }
    };
    (@fields [$( $done:tt )*] { $name:ident $params:ty => $result:ty, $abis:ident => $field:ident } $( $rest:tt )*) => {
        callbacks! { @fields [$( $done )* { $name, $params, $result, $abis, $field }] $( $rest )* }
    };
    (@fields [$( $done:tt )*] { $name:ident $params:ty => $result:ty, $abis:ident } $( $rest:tt )*) => {
        callbacks! { @fields [$( $done )*] $( $rest )* }
    };
    (@fields [$( { $name:ident, $params:ty, $result:ty, $abis:ident, $field:ident } )*]) => {
        /// The callbacks that an instance exports. The first parameter of each is the id of the context.
        #[derive(Debug)]
        pub(crate) struct Callbacks {
            $( pub $field: Callback<$params, $result>, )*
        }

        impl Callbacks {
            /// Returns the callbacks that an instance exports for its ABI version.
            ///
            /// # Errors
            /// [`Error::Invalid`] if one of them has another signature.
            pub(crate) fn of(
                store: &Store<State>,
                instance: &Instance,
                abi: AbiVersion,
            ) -> Result<Callbacks, Error> {
                Ok(Callbacks {
                    $( $field: Callback {
                        name: stringify!($name),
                        function: if $abis.contains(&abi) { export(store, instance, stringify!($name))? } else { None },
                    }, )*
                })
            }
        }
    };
}

callbacks! {
    proxy_on_context_create (u32, u32) => (), ALL => context_create;
    proxy_on_vm_start (u32, u32) => u32, ALL => vm_start;
    proxy_validate_configuration (u32, u32) => u32, ALL;
    proxy_on_configure (u32, u32) => u32, ALL => configure;
    proxy_on_tick u32 => (), ALL => tick;
    proxy_on_queue_ready (u32, u32) => (), ALL => queue_ready;
    proxy_on_foreign_function (u32, u32, u32) => (), SINCE_0_2_0;
    proxy_on_new_connection u32 => u32, ALL => new_connection;
    proxy_on_downstream_data (u32, u32, u32) => u32, ALL => downstream_data;
    proxy_on_downstream_connection_close (u32, u32) => (), ALL => downstream_connection_close;
    proxy_on_upstream_data (u32, u32, u32) => u32, ALL => upstream_data;
    proxy_on_upstream_connection_close (u32, u32) => (), ALL => upstream_connection_close;
    proxy_on_request_headers (u32, u32) => u32, ONLY_0_1_0 => request_headers_0_1;
    proxy_on_request_headers (u32, u32, u32) => u32, SINCE_0_2_0 => request_headers;
    proxy_on_request_body (u32, u32, u32) => u32, ALL => request_body;
    proxy_on_request_trailers (u32, u32) => u32, ALL => request_trailers;
    proxy_on_request_metadata (u32, u32) => u32, ALL;
    proxy_on_response_headers (u32, u32) => u32, ONLY_0_1_0 => response_headers_0_1;
    proxy_on_response_headers (u32, u32, u32) => u32, SINCE_0_2_0 => response_headers;
    proxy_on_response_body (u32, u32, u32) => u32, ALL => response_body;
    proxy_on_response_trailers (u32, u32) => u32, ALL => response_trailers;
    proxy_on_response_metadata (u32, u32) => u32, ALL;
    proxy_on_http_call_response (u32, u32, u32, u32, u32) => (), ALL => http_call_response;
    proxy_on_grpc_receive_initial_metadata (u32, u32, u32) => (), ALL => grpc_receive_initial_metadata;
    proxy_on_grpc_receive (u32, u32, u32) => (), ALL => grpc_receive;
    proxy_on_grpc_receive_trailing_metadata (u32, u32, u32) => (), ALL => grpc_receive_trailing_metadata;
    proxy_on_grpc_close (u32, u32, u32) => (), ALL => grpc_close;
    proxy_on_log u32 => (), ALL => log;
    proxy_on_done u32 => u32, ALL => done;
    proxy_on_delete u32 => (), ALL => delete;
}
